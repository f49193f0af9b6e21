from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from tiny import planned

from simo_cl.harness import progress as module
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress

Wait = Callable[[float], None]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """A clock that goes on when it is told to."""
    now = 1000.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    return wait


def runs_of(folder: Path, seeds: int) -> list[PlannedRun]:
    return planned(folder, f"strategies: {{er: , simo: }}\nseeds: {list(range(seeds))}\n")


def halfway(progress: SuiteProgress, runs: list[PlannedRun], wait: Wait) -> None:
    """One run has finished in 100 s, one failed, two are half done after 50 s."""
    progress.begin(runs)
    progress.run_begins(runs[0])
    progress.run_begins(runs[1])
    progress.run_failed(runs[1], "ValueError: no such luck")
    wait(100)
    progress.run_ends(runs[0], {"average_accuracy": 0.5})
    for run in runs[2:4]:
        progress.run_begins(run)
        progress.step(run, 0, 10)
    wait(50)
    for run in runs[2:4]:
        progress.step(run, 5, 10)


def last_table(text: str) -> list[str]:
    """The lines of a live table as it was shown last."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    lines = [line.rstrip() for line in plain.splitlines()]
    return lines[max(i for i, line in enumerate(lines) if line.startswith("run ")) :]


def table(runs: list[PlannedRun], height: int, wait: Wait) -> list[str]:
    console = Console(width=110, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured, SuiteProgress(console) as progress:
        halfway(progress, runs, wait)
    return last_table(captured.get())


def test_a_terminal_shows_every_run_while_there_is_room(tmp_path: Path, wait: Wait) -> None:
    header, *rows = table(runs_of(tmp_path, 3), 24, wait)

    assert header.split() == ["run", "state", "progress", "steps", "time", "left"]
    assert re.fullmatch(r"er, seed 0 +finished +average accuracy 0\.5000 +1 min 40 s", rows[0])
    assert re.fullmatch(r"simo, seed 0 +failed +FAILED: ValueError: no …? +0\.0 s", rows[1])
    assert re.fullmatch(r"er, seed 1 +running +\S+ +5/10 +50 s +50 s", rows[2])
    assert re.fullmatch(r"er, seed 2 +waiting", rows[4])
    # Two at once: 50 s for those that run, then 100 s for those that wait.
    assert rows[6] == (
        "6 runs: 1 finished, 1 failed, 2 running, 2 waiting; 2 min 30 s, about 2 min 30 s left"
    )


def test_of_more_runs_than_lines_it_shows_those_that_are_going_on(
    tmp_path: Path, wait: Wait
) -> None:
    _, *rows = table(runs_of(tmp_path, 50), 24, wait)

    assert [row.split("  ")[0] for row in rows[:2]] == ["er, seed 1", "simo, seed 1"]
    assert rows[2].startswith("100 runs: 1 finished, 1 failed, 2 running, 96 waiting;")


def test_elsewhere_a_line_a_minute_says_how_far_it_is(tmp_path: Path, wait: Wait) -> None:
    runs = runs_of(tmp_path, 3)
    console = Console(width=110)
    with console.capture() as captured, SuiteProgress(console) as progress:
        halfway(progress, runs, wait)
        progress.step(runs[2], 6, 10)
    lines = captured.get().splitlines()

    assert [line for line in lines if line.startswith("6 runs")] == [
        "6 runs: 1 finished, 1 failed, 1 running, 3 waiting; 1 min 40 s, about 5 min 00 s left "
        "(er, seed 1: 0%)"
    ]


def test_a_run_that_goes_on_has_less_left(tmp_path: Path, wait: Wait) -> None:
    (run,) = runs_of(tmp_path, 1)[:1]
    progress = SuiteProgress(Console(quiet=True))
    progress.begin([run])
    progress.run_begins(run)
    progress.step(run, 800, 1000)
    wait(10)
    progress.step(run, 900, 1000)

    assert progress._seconds_left() == pytest.approx(10)


def test_a_run_may_begin_again_on_another_node(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)[:1]
    console = Console(width=110)
    with console.capture() as captured, SuiteProgress(console) as progress:
        progress.begin([run])
        progress.run_begins(run, "a")
        progress.run_restarts(run, "its node ended")
        progress.run_begins(run, "b")
        progress.run_failed(run, "no such luck")

    assert captured.get().splitlines() == [
        "[1/1] er, seed 0 on a ...",
        "Warning: er, seed 0: its node ended",
        "[1/1] er, seed 0 on b ...",
        "[1/1] er, seed 0: FAILED: no such luck (0 s)",
    ]


def test_a_single_run_is_counted_as_one(tmp_path: Path, wait: Wait) -> None:
    run = runs_of(tmp_path, 1)[0]
    console = Console(width=110)
    with console.capture() as captured, SuiteProgress(console) as progress:
        progress.begin([run])
        progress.run_begins(run)
        wait(100)
        progress.step(run, 1, 10)

    assert captured.get().splitlines()[-1] == "1 run: 1 running; 1 min 40 s (er, seed 0: 10%)"
