"""What opens a server stays where it was given."""

from __future__ import annotations

import sys

import pytest
from project import Project


def test_what_opens_a_server_is_neither_printed_nor_stored(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://me:pass/w%40rd@127.0.0.1:9/base?token=t0ken&user=me"
    words = ["run", str(project.suite("finetune", "raises")), f"--tracking-uri={uri}"]
    monkeypatch.setattr(sys, "argv", ["simo-cl", *words])

    results = [
        project.call(*words),
        project.call("sync", "tiny", "--tracking-uri", uri),
        project.call("ui", "tiny", "--tracking-uri", uri, "--no-browser"),
        project.call("sync", "tiny"),
    ]

    assert "simo-cl sync" in results[0].output
    assert [result.exit_code for result in results] == [1, 2, 2, 0]
    written = [path.read_bytes() for path in project.results.rglob("*") if path.is_file()]
    assert any(b"***@127.0.0.1:9/base?token=***&user=***" in content for content in written)
    for text in (*(result.output.encode() for result in results), *written):
        assert not any(secret in text for secret in (b"pass/w", b"w%40rd", b"w@rd", b"t0ken"))
