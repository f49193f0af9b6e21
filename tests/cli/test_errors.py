from __future__ import annotations

import io
import os
import signal
import sys

import pytest
import typer

from simo_cl.cli.errors import interruptible
from simo_cl.cli.terminal import make_console


def ask_to_stop() -> None:
    with interruptible(make_console()):
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
    try:
        with pytest.raises(typer.Exit) as ended:
            ask_to_stop()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)

    said = capfd.readouterr()
    assert ended.value.exit_code == 130
    assert said.err == "\nStopping ...\n"
    assert "the same command goes on from there" in said.out


def test_a_background_job_that_ignores_ctrl_c_goes_on_with_that() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ask_to_stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_character_that_the_encoding_lacks_ends_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="latin-1"))
    make_console().print("a\N{MINUS SIGN}b")
    sys.stdout.flush()
    assert content.getvalue() == f"a?b{os.linesep}".encode()


@pytest.mark.parametrize(("columns", "width"), [("70", 70), ("", 110), ("wide", 110), (None, 110)])
def test_the_width_of_a_pipe_is_that_of_columns(
    columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width
