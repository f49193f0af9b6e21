from __future__ import annotations

import pytest
from project import Project
from tiny import ROOT


def test_init_writes_what_can_be_run_there(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.results.parent / "a new one"

    first = project.call("init", folder)
    again = project.call("init", folder)
    monkeypatch.chdir(folder)
    preview = project.call("run", "benchmarks/quickstart.yaml", "--dry-run")

    assert first.exit_code == 0
    assert f"cd '{folder}'\n" in first.output
    for name, kind in (("benchmarks", "*.yaml"), ("strategies", "*.py")):
        shipped = {path.name for path in (ROOT / name).glob(kind)}
        assert {path.name for path in (folder / name).iterdir()} == shipped
    assert again.exit_code == 2
    assert "more of the shipped files: there already, and nothing was written" in again.output
    assert len(again.output.splitlines()) == 1
    assert preview.exit_code == 0
    assert "24 runs in" in preview.output
