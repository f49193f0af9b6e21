"""SIGKILL at any moment: the same command goes on, and nothing is lost but the time since."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from forked import Event, Execute, Kill, execute_here, saved_often
from processes import start_command
from tiny import STRATEGIES, outcome

from simo_cl.results import RunFolder
from simo_cl.streams import load_data

IN_TRAINING, IN_A_CHECKPOINT = "rename checkpoint.pt", "open checkpoint.pt.partial"


def seconds_after(name: str, events: Sequence[Event]) -> float:
    """The longest that it took from such an event to the next one."""
    return max(next_.time - event.time for event, next_ in pairwise(events) if event.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["simo", "er", "icarl", "er_ace", "der"])
def test_four_kills_at_random_moments(
    strategy: str, tmp_path: Path, execute_forked: Execute
) -> None:
    (run,) = runs = saved_often(tmp_path, strategy)
    undisturbed = execute_forked(runs, tmp_path / "whole")
    moments = random.Random(strategy)
    for place, most in ((IN_TRAINING, 2), (IN_A_CHECKPOINT, 2), ("evaluation", 1), ("export", 1)):
        seconds = moments.uniform(0, seconds_after(place, undisturbed))
        kill = Kill(place, moments.randint(1, most), seconds)
        execute_forked(runs, tmp_path / "killed", kill)
    execute_forked(runs, tmp_path / "killed")

    killed = tmp_path / "killed" / run.folder
    assert (killed / "log.txt").read_text().count("goes on in experience") == 4
    assert outcome(killed) == outcome(tmp_path / "whole" / run.folder)


@pytest.mark.slow
def test_a_kill_at_each_file_operation(tmp_path: Path, execute_forked: Execute) -> None:
    """Each attempt gets so far as to begin with something that none before has begun with."""
    (run,) = runs = saved_often(tmp_path, "simo")
    undisturbed = execute_forked(runs, tmp_path / "whole")
    for name in dict.fromkeys(event.name for event in undisturbed):
        execute_forked(runs, tmp_path / "killed", Kill(name))
        finished = RunFolder(tmp_path / "killed" / run.folder).state == "finished"
        # The checkpoints are all that is left to remove then.
        assert finished == name.startswith("remove")
    execute_forked(runs, tmp_path / "killed")

    killed, whole = (tmp_path / name / run.folder for name in ("killed", "whole"))
    assert outcome(killed) == outcome(whole)
    names = [sorted(path.name for path in folder.iterdir()) for folder in (killed, whole)]
    assert names[0] == names[1]


@pytest.mark.slow
def test_the_command_itself(tmp_path: Path) -> None:
    """Killed twice, in either run, as soon as there is something to go on from."""
    runs = saved_often(tmp_path, "er", "simo")
    words = ["run", tmp_path / "suite" / "tiny.yaml", "--strategies-dir", STRATEGIES]
    # One after the other: a kill in the second is then none in the first.
    words += ["--jobs", "1", "--results"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    moments = random.Random("command")
    for run in runs:
        process = start_command([*words, killed], says=tmp_path / "says.txt")
        checkpoints, enough = set[int](), moments.randint(2, 6)
        while len(checkpoints) < enough:
            assert process.is_alive(), (tmp_path / "says.txt").read_text()
            time.sleep(0.002)
            with suppress(FileNotFoundError):
                previous = killed / "tiny" / run.folder / "checkpoint.previous.pt"
                checkpoints.add(previous.stat().st_mtime_ns)
        time.sleep(moments.uniform(0, 0.01))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    for results in (killed, whole):
        assert execute_here(runs, results / "tiny", data=load_data("digits")) == {}

    for run in runs:
        folder = killed / "tiny" / run.folder
        assert (folder / "log.txt").read_text().count("goes on in experience") == 1
        assert outcome(folder) == outcome(whole / "tiny" / run.folder)
