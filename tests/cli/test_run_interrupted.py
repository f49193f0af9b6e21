"""The command in a process of its own, stopped while it waits for MLflow."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock
from processes import start_command
from project import Project


@pytest.mark.slow
def test_ctrl_c_while_mlflow_is_waited_for_costs_no_report(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = project.suite("finetune", "raises")
    folder = project.results / "tiny"
    words = ["run", str(suite), "--results", str(project.results)]
    # As if another command were writing to MLflow, which is waited for a minute.
    says = tmp_path / "says.txt"
    monkeypatch.setenv("COLUMNS", "200")
    with FileLock(folder / "mlflow.lock"):
        process = start_command(words, says=says)
        said = ""
        while "Waiting for MLflow" not in said:
            assert process.is_alive(), said
            time.sleep(0.1)
            said = says.read_text() if says.exists() else ""
        # Like a terminal: to all processes.
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGINT)
        process.join()
    rest = says.read_text()

    assert f"Report: {folder / 'report.html'}" in said
    assert "Failed: raises, seed 0: RuntimeError: no such luck" in said
    assert (folder / "report.html").is_file()
    assert process.exitcode == 130
    assert "the same command goes on from there" in rest
    assert "Traceback" not in rest
