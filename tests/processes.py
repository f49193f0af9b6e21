"""Processes forked from one that has imported what takes seconds, in place of new interpreters."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import spared

from simo_cl.child_process import ForkedProcess

# A module that is not among them is imported by each process that wants it.
_IMPORTED = [
    "alembic.autogenerate",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "networkx",
    "simo_cl.cli",
    "simo_cl.harness.evaluation",
    "simo_cl.harness.execute_suite",
    "simo_cl.harness.resume",
    "simo_cl.harness.workers",
    "simo_cl.report",
    "simo_cl.streams.class_incremental",
    "simo_cl.streams.digits",
    "simo_cl.tracking.mirror",
    "simo_cl.tracking.mlflow_logger",
    "torch._inductor.config",
    "torch.export._trace",
]


class _Process(ForkedProcess):
    """Has the process group of who starts it, too.

    It never steps back for others: the tests wait for it, on a busy machine for minutes.
    """

    def start(self) -> None:
        self._group = os.getpgrp()
        super().start()

    def take_over(self) -> None:
        super().take_over()
        os.setpgid(0, self._group)
        os.nice = lambda increment: 0
        # Its own processes are forked by the same server, in place of which Python starts another.
        forkserver.ensure_running = resource_tracker.ensure_running
        forkserver._forkserver.ensure_running = resource_tracker.ensure_running
        spared.copy_stores_as_told(pytest.MonkeyPatch())


class _Context(ForkServerContext):
    Process = _Process


def forks() -> _Context:
    """Takes the place of `simo_cl.child_process.process_context`."""
    context = _Context()
    context.set_forkserver_preload(_IMPORTED)
    # Here, where no signal is blocked as it may be while a process starts: that would be inherited.
    forkserver.ensure_running()
    return context


def run_script(words: Sequence[str | Path], folder: Path | None = None) -> CompletedProcess[str]:
    """What ``python words`` does in a folder, its exit code and all it says."""
    return run_forked(_script, [str(word) for word in words], folder=folder)


def run_forked(
    function: Callable[..., object], *arguments: Any, folder: Path | None = None
) -> CompletedProcess[str]:
    """Calls a function in a process; gives its exit code and all it says."""
    with tempfile.TemporaryDirectory() as place:
        says = [Path(place) / name for name in ("stdout", "stderr")]
        process = start_forked(function, *arguments, says=says, folder=folder)
        process.join()
        code = process.exitcode
        assert code is not None
        return CompletedProcess([], code, *(path.read_text(encoding="utf-8") for path in says))


def start_forked(
    function: Callable[..., object],
    *arguments: Any,
    says: Sequence[Path],
    folder: Path | None = None,
) -> ForkServerProcess:
    """Begins to call a function in a process; what it says goes to one file or two."""
    process = forks().Process(
        target=_call, args=(function, arguments, list(says), folder), name=function.__name__
    )
    process.start()
    return process


def start_command(
    words: Sequence[str | Path], *, says: Path, spawns: bool = False
) -> ForkServerProcess:
    """Gives a command of simo-cl, in a process group of its own, as a terminal would.

    What it starts itself is forked, too, unless it `spawns` its workers.
    """
    return start_forked(_command, [str(word) for word in words], spawns, says=[says])


def wait_until(condition: Callable[[], bool]) -> None:
    """For an event, however long it takes on a busy machine."""
    while not condition():
        time.sleep(0.1)


def _call(
    function: Callable[..., object], arguments: Sequence[Any], says: list[Path], folder: Path | None
) -> None:
    for number, path in zip((1, 2), (says[0], says[-1]), strict=True):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if folder is not None:
        os.chdir(folder)
    function(*arguments)


def _command(words: list[str], spawns: bool) -> None:
    os.setpgid(0, 0)
    # A shell that starts tests in the background has them ignore what a terminal sends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["simo-cl", *words]
    from simo_cl.cli import app
    from simo_cl.harness import workers
    from simo_cl.tracking import follow

    follow.process_context = forks
    workers.process_context = partial(get_context, "spawn") if spawns else forks
    spared.leave_out_figures(pytest.MonkeyPatch())
    app()


def _script(words: list[str]) -> None:
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
