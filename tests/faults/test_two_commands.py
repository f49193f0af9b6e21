"""Two commands on one suite: the second says who is at it, waits, and finds everything done."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from filelock import FileLock
from forked import saved_often
from processes import start_command
from tiny import STRATEGIES


@pytest.mark.slow
def test_the_second_waits_and_does_nothing_twice(tmp_path: Path) -> None:
    (run,) = saved_often(tmp_path, "simo")
    suite, results = tmp_path / "suite" / "tiny.yaml", tmp_path / "results"
    words = ["run", suite, "--results", results, "--strategies-dir", STRATEGIES]
    says = tmp_path / "second.txt"
    # As if a third one were writing to MLflow: the first cannot end before the second is there.
    with FileLock(results / "tiny" / "mlflow.lock"):
        first = start_command(words, says=tmp_path / "first.txt")
        holder = results / "tiny" / "suite.lock.json"
        while not holder.exists() and first.is_alive():
            time.sleep(0.01)
        second = start_command(words, says=says)
        while not (says.exists() and "is in use by" in says.read_text()) and second.is_alive():
            time.sleep(0.01)
    for process in (first, second):
        process.join()

    said = says.read_text()
    assert (first.exitcode, second.exitcode) == (0, 0), said
    assert f"{results / 'tiny'} is in use by `simo-cl" in said
    assert f"(process {first.pid} on " in said
    assert "1 of 1 runs is finished already." in said
    log = (results / "tiny" / run.folder / "log.txt").read_text()
    assert log.count(" steps on cpu") == 1
