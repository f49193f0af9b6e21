"""The command in a process of its own, stopped while it waits for MLflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock
from project import Project
from tiny import COMMAND


@pytest.mark.slow
def test_ctrl_c_while_mlflow_is_waited_for_costs_no_report(project: Project) -> None:
    suite = project.suite("finetune", "raises")
    folder = project.results / "tiny"
    words = ["run", str(suite), "--results", str(project.results)]
    # As if another command were writing to MLflow, which is waited for a minute.
    with (
        FileLock(folder / "mlflow.lock"),
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        said = ""
        while "Waiting for MLflow" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        # Like a terminal: to all processes.
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()

    assert f"Report: {folder / 'report.html'}" in said
    assert "Failed: raises, seed 0: RuntimeError: no such luck" in said
    assert (folder / "report.html").is_file()
    assert process.returncode == 130
    assert "the same command goes on from there" in rest
    assert "Traceback" not in said + rest
