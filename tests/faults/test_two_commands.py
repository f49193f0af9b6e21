"""Two commands on one suite: the second says who is at it, waits, and finds everything done."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import saved_often
from tiny import STRATEGIES


@pytest.mark.slow
def test_the_second_waits_and_does_nothing_twice(
    tmp_path: Path, give_command: Callable[..., BaseProcess]
) -> None:
    (run,) = saved_often(tmp_path, "simo")
    suite, results = tmp_path / "suite" / "tiny.yaml", tmp_path / "results"
    words = ["run", suite, "--results", results, "--strategies-dir", STRATEGIES]
    first = give_command(words, tmp_path / "first.txt")
    holder = results / "tiny" / "suite.lock.json"
    until = time.monotonic() + 150
    while not holder.exists() and time.monotonic() < until:
        time.sleep(0.01)
    second = give_command(words, tmp_path / "second.txt")
    for process in (first, second):
        process.join(150)

    said = (tmp_path / "second.txt").read_text()
    assert (first.exitcode, second.exitcode) == (0, 0), said
    assert f"{results / 'tiny'} is in use by `simo-cl" in said
    assert f"(process {first.pid} on " in said
    assert "1 of 1 runs are finished already." in said
    log = (results / "tiny" / run.folder / "log.txt").read_text()
    assert log.count(" steps on cpu") == 1
