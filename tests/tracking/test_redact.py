from __future__ import annotations

import logging
from pathlib import Path

import pytest

from simo_cl.tracking.mlflow_logger import MLflowLogger
from simo_cl.tracking.redact import public_address, without_secrets
from simo_cl.tracking.view import chart_view_url


@pytest.mark.parametrize(
    ("given", "shown", "public"),
    [
        ("http://host:5000", "http://host:5000", "http://host:5000"),
        ("https://me:pass@host/base", "https://***@host/base", "https://host/base"),
        ("https://t0ken@host", "https://***@host", "https://host"),
        ("https://me:p/a@s@host", "https://***@host", "https://host"),
        ("https://host?token=abc&b=2", "https://host?token=***&b=***", "https://host"),
        ("postgresql://me:pass@host/db", "postgresql://***@host/db", "postgresql://host/db"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db", None),
        ("file:///runs/er@epsilon", "file:///runs/er@epsilon", None),
    ],
)
def test_addresses(given: str, shown: str, public: str | None) -> None:
    assert without_secrets(given) == shown
    assert public is None or public_address(given) == public


def test_the_address_of_a_page_of_mlflow_is_shown() -> None:
    page = chart_view_url("http://127.0.0.1:5000", "1", "2")
    assert without_secrets(page) == page
    assert without_secrets(f"{page}&token=abc") == f"{page}&token=***"


def test_addresses_in_a_text() -> None:
    text = "GET http://me:pass@host/a?token=abc failed; --tracking-uri=http://you:word@there."

    assert without_secrets(text) == (
        "GET http://***@host/a?token=*** failed; --tracking-uri=http://***@there."
    )


def test_the_loggers_warnings_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        caplog.at_level(logging.DEBUG),
        MLflowLogger(tracking_uri="http://me:secret@127.0.0.1:1/?token=t0ken") as logger,
    ):
        logger.log_single_metric("loss", 1.0, 0)

    assert "http://***@127.0.0.1:1" in caplog.text
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert not any(secret in caplog.text + written for secret in ("secret", "t0ken"))
