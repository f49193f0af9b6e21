"""What processes do that the tests kill."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from tiny import SETTINGS, part_of_digits, planned

from simo_cl.harness import execute_run
from simo_cl.harness.evaluation import Evaluation
from simo_cl.harness.execute_suite import execute_runs
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.streams import DataSet

_FILE_EVENTS = ("open", "os.rename", "os.remove")


class Event(NamedTuple):
    """Something that a run did: ``open <file>``, ``rename <to>``, ``evaluation`` and so on."""

    name: str
    time: float


class Kill(NamedTuple):
    """When to send SIGKILL: so long after the n-th event of a name, and before the next one."""

    after: str
    nth: int = 1
    seconds: float = 0.0


Execute = Callable[..., list[Event]]
"""The fixture that executes runs, below a folder, perhaps until a :class:`Kill`."""


def saved_often(folder: Path, *strategies: str) -> list[PlannedRun]:
    """Runs of some strategies, with a checkpoint wherever there can be one."""
    more = f"strategies: {{{', '.join(f'{name}: ' for name in strategies)}}}\n"
    settings = SETTINGS.replace("experiences: 2", "experiences: 3").replace(
        "epochs: 0.2", "epochs: 2"
    )
    return planned(folder / "suite", more + "checkpoint_minutes: 0\n", settings=settings)


def execute_here(
    runs: list[PlannedRun], folder: Path, *, data: DataSet | None = None, quiet: bool = True
) -> dict[str, str]:
    """Executes runs in this process, on a part of the digits or other data."""
    with SuiteProgress(Console(quiet=quiet, width=200)) as progress:
        return execute_runs(
            runs,
            folder,
            data=data or part_of_digits(),
            device=torch.device("cpu"),
            progress=progress,
        )


def hearing(step: Callable[[int, int], object]) -> Callable[..., None]:
    """Has a function told the steps of an attempt, and nothing else."""

    def say(kind: str, *content: Any) -> None:
        if kind == "step":
            step(*content)

    return say


def execute(
    runs: list[PlannedRun], folder: Path, say: Connection, last: tuple[str, int] | None
) -> None:
    """Executes runs.

    Args:
        runs: of the tiny suite.
        folder: that their folders are relative to.
        say: told of each event as ``(name, time)``: a file operation in the folder is about to
            begin, an evaluation, or the export of the model.
        last: the name of an event and how many of them there are until it is too late: at the
            event after that one, or at the end if there is none, the process kills itself.
    """
    left = None if last is None else last[1]

    def kill_if_too_late() -> None:
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(name: str) -> None:
        nonlocal left
        kill_if_too_late()
        say.send((name, time.monotonic()))
        if last is not None and left is not None and name == last[0]:
            left -= 1

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS and str(folder) in str(arguments[0]):
            path = Path(arguments[1] if event == "os.rename" else arguments[0])
            note(f"{event.removeprefix('os.')} {path.name}")

    def noted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            note(name)
            return function(*arguments)

        return call

    Evaluation.after_experience = noted(Evaluation.after_experience, "evaluation")
    execute_run.export_model = noted(execute_run.export_model, "export")
    sys.addaudithook(watch)
    failed = execute_here(runs, folder)
    kill_if_too_late()
    if failed:
        raise SystemExit(str(failed))
