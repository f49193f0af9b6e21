"""A clock that jumps: results do not depend on it, nor does their order."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from forked import execute_here, saved_often
from tiny import outcome

from simo_cl.results import read_suite


def test_a_clock_that_jumps_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = runs = saved_often(tmp_path, "simo")
    execute_here(runs, tmp_path / "whole")
    # A day back at each look.
    days = itertools.count(start=20_000, step=-1)
    with monkeypatch.context() as patched:
        patched.setattr("time.time", lambda: 86_400.0 * next(days))
        execute_here(runs, tmp_path / "back")

    folder = tmp_path / "back" / run.folder
    assert outcome(folder) == outcome(tmp_path / "whole" / run.folder)
    entry = {"strategy": "simo", "seed": 0, "folder": run.folder.as_posix()}
    plan = {"suite": "tiny", "runs": [entry]}
    (tmp_path / "back" / "plan.json").write_text(json.dumps(plan))
    (reported,) = read_suite(tmp_path / "back").runs
    assert reported.faults == ()
    assert reported.history[0].time > reported.history[-1].time
    assert [measured.experience for measured in reported.history] == [0, 1, 2]
    # What took time was measured by another clock.
    assert reported.seconds == 0
    assert reported.final["cost/train_seconds"] > 0
