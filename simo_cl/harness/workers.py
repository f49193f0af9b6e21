"""Several runs at once, in processes that stay: importing Avalanche takes seconds."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.multiprocessing import get_context

from simo_cl.child_process import (
    end_with_parent,
    process_context,
    start_without_interrupts,
)
from simo_cl.harness.attempt import attempt, throttled
from simo_cl.harness.diagnosis import usable_cores
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet, Images

_SECONDS_TO_LEAVE = 10.0
# It holds torch, Avalanche and a run's batches.
_MEMORY_OF_A_PROCESS = 2 * 1024**3


def execute_in_workers(
    runs: Sequence[PlannedRun],
    jobs: int,
    folder: Path,
    *,
    data: DataSet,
    device: torch.device,
    plugins: Path | None,
    progress: SuiteProgress,
    ends: Callable[[PlannedRun, str | None], None],
) -> None:
    """Executes runs in so many processes, each one run after the other.

    A run whose process dies has failed, and another process takes its place.

    Args:
        runs: to execute, begun in this order.
        jobs: processes, at least 1.
        folder: of the suite.
        data: that the runs train on; the processes read it from one temporary file.
        device: to train on; "cuda" without a number is every GPU in turn.
        plugins: a file that each process imports.
        progress: told what happens but for ends.
        ends: told of a run's end, and why it failed if it did.
    """
    waiting = deque(runs)
    devices = devices_for(min(jobs, len(runs)), device)
    with _in_a_file(data) as path:
        workers = [_Worker((path, data, folder, each, plugins)) for each in devices]
        try:
            while waiting or any(worker.run for worker in workers):
                for worker in workers:
                    if worker.run is None and waiting:
                        run = waiting.popleft()
                        worker.begin(run)
                        progress.run_begins(run)
                busy = {worker.connection: worker for worker in workers if worker.run}
                for connection in wait(list(busy)):
                    busy[connection].listen(folder, progress, ends)  # type: ignore[index]
        finally:
            for worker in workers:
                worker.leave()


def default_jobs(runs: Sequence[PlannedRun], device: torch.device) -> int:
    """How many of the runs to execute at once where nobody says: as many as have a core for each of
    their threads. One on a GPU, whose memory is the user's to share out."""
    if device.type != "cpu" or not runs:
        return 1
    threads = max(run.settings.training.threads for run in runs)
    memory = int(psutil.virtual_memory().total)
    room = min(usable_cores() // threads, memory // _MEMORY_OF_A_PROCESS)
    return max(1, min(room, len(runs)))


def devices_for(jobs: int, device: torch.device) -> list[torch.device]:
    """The device of each process: all GPUs in turn for "cuda", otherwise the one given."""
    if device.type != "cuda" or device.index is not None:
        return [device] * jobs
    count = torch.cuda.device_count()
    return [torch.device("cuda", number % count) for number in range(jobs)]


class _Worker:
    """A process and the run that it is at, if any."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.run: PlannedRun | None = None
        self._arguments = arguments
        self._start()

    def _start(self) -> None:
        path, data, folder, device, plugins = self._arguments
        context = process_context() if device.type == "cpu" else get_context("spawn")
        self.connection, far_end = context.Pipe()
        shown = (data.name, data.class_names, data.note)
        self._process: BaseProcess = context.Process(
            target=_work, args=(far_end, path, shown, folder, device, plugins), daemon=True
        )
        start_without_interrupts(self._process)
        # Only the process holds it now, so that its death shows as the end of the connection.
        far_end.close()

    def begin(self, run: PlannedRun) -> None:
        self.run = run
        job = pickle.dumps(run)
        try:
            self.connection.send(job)
        except OSError:
            # It died while it had nothing to do: no fault of this run.
            self._start()
            self.connection.send(job)

    def listen(
        self, folder: Path, progress: SuiteProgress, ends: Callable[[PlannedRun, str | None], None]
    ) -> None:
        """Passes on one message."""
        assert self.run is not None
        try:
            kind, *content = self.connection.recv()
            has_died = False
        except (EOFError, ConnectionError):
            kind, content = "unable", [self._death()]
            has_died = True
        if kind == "step":
            progress.step(self.run, *content)
        elif kind == "warning":
            progress.warn(*content)
        else:
            run, self.run = self.run, None
            if kind == "unable":
                # On a full disk the reason is told all the same.
                with suppress(OSError):
                    RunFolder(folder / run.folder).fail(RuntimeError(*content))
            ends(run, *content)
        if has_died:
            self._start()

    def _death(self) -> str:
        self._process.join()
        return (
            f"its process ended with exit code {self._process.exitcode}; a negative one is a "
            "signal, and -9 often means that memory ran out"
        )

    def leave(self) -> None:
        if self.run is None:
            self.connection.close()
            self._process.join(_SECONDS_TO_LEAVE)
        self._process.kill()
        self._process.join()


def _work(
    connection: Connection,
    path: Path,
    shown: tuple[str, tuple[str, ...], str],
    folder: Path,
    device: torch.device,
    plugins: Path | None,
) -> None:
    end_with_parent()

    def say(kind: str, *content: object) -> None:
        try:
            connection.send((kind, *content))
        except OSError:
            # Nobody listens any more, which is no failure of the run.
            os._exit(1)

    step, warn = throttled(partial(say, "step")), partial(say, "warning")
    data, problem = None, ""
    try:
        data = _read(path, *shown)
    except Exception as error:
        problem = _in_words(error)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            if data is None:
                raise SuiteError(problem)
            run = pickle.loads(job)
            if plugins is not None:
                load_plugins(plugins, run.settings.plugins)
        except Exception as error:
            say("unable", f"its process could not begin it: {_in_words(error)}")
        else:
            say("ended", attempt(run, folder, data, device, step, warn))


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"


@contextmanager
def _in_a_file(data: DataSet) -> Iterator[Path]:
    """The images in a temporary file, which processes map into memory once for all."""
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as folder:
        path = Path(folder) / "data.pt"
        parts = [data.train.images, data.train.labels, data.test.images, data.test.labels]
        # A file of Python's own says that the disk is full by an OSError; torch's does not.
        with path.open("wb") as file:
            torch.save(parts, file)
        yield path


def _read(path: Path, name: str, class_names: tuple[str, ...], note: str) -> DataSet:
    train, train_labels, test, test_labels = torch.load(path, mmap=True, weights_only=True)
    return DataSet(name, Images(train, train_labels), Images(test, test_labels), class_names, note)
