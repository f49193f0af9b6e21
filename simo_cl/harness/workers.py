"""Several runs at once, in processes that stay: importing Avalanche takes seconds."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.multiprocessing import get_context

from simo_cl.child_process import end_with_parent, process_context, start_without_interrupts
from simo_cl.harness.attempt import RunsListener, attempt, throttled
from simo_cl.harness.diagnosis import usable_cores
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import register_parts
from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import UserFile
from simo_cl.streams import DataSet

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
    plugins: UserFile | None,
    listener: RunsListener,
) -> None:
    """Executes runs in so many processes, each one run after the other.

    A run whose process dies has failed, and another process takes its place.

    Args:
        runs: to execute, begun in this order.
        jobs: processes, at least 1.
        folder: of the suite.
        data: that the runs train on; the processes map its images into memory from one file.
        device: to train on; "cuda" without a number is every GPU in turn.
        plugins: a file that each process imports.
        listener: told what happens.
    """
    waiting = deque(runs)
    devices = devices_for(min(jobs, len(runs)), device)
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as temporary:
        path = Path(temporary) / "data.pt"
        # A file of Python's own says that the disk is full by an OSError; torch's does not.
        with path.open("wb") as file:
            torch.save(data, file)
        workers = [_Worker(path, folder, each, plugins) for each in devices]
        try:
            while waiting or any(worker.run for worker in workers):
                for worker in workers:
                    if worker.run is None and waiting:
                        run = waiting.popleft()
                        worker.begin(run)
                        listener(run, "begins")
                busy = {worker.connection: worker for worker in workers if worker.run}
                for connection in wait(list(busy)):
                    busy[connection].listen(listener)  # type: ignore[index]
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

    def __init__(
        self, data: Path, folder: Path, device: torch.device, plugins: UserFile | None
    ) -> None:
        self.run: PlannedRun | None = None
        self._arguments = (data, folder, device, plugins)
        self._context = process_context() if device.type == "cpu" else get_context("spawn")
        self._start()

    def _start(self) -> None:
        self.connection, far_end = self._context.Pipe()
        self._process: BaseProcess = self._context.Process(
            target=_work, args=(far_end, *self._arguments), daemon=True
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
            # It died at the run before, or while it had nothing to do: no fault of this one.
            self._start()
            self.connection.send(job)

    def listen(self, listener: RunsListener) -> None:
        """Passes on one message."""
        assert self.run is not None
        run = self.run
        try:
            kind, *content = self.connection.recv()
        except (EOFError, ConnectionError):
            kind, content = "lost", [self._death()]
        if kind in ("ended", "lost"):
            self.run = None
        listener(run, kind, *content)

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
    data_file: Path,
    folder: Path,
    device: torch.device,
    plugins: UserFile | None,
) -> None:
    end_with_parent()

    def say(kind: str, *content: Any) -> None:
        try:
            connection.send((kind, *content))
        except OSError:
            # Nobody listens any more, which is no failure of the run.
            os._exit(1)

    data: DataSet | None = None
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            if data is None:
                # By pickle, as the run: from the process that began this one.
                data = torch.load(data_file, mmap=True, weights_only=False)
            if plugins is not None:
                register_parts(plugins)
            run = pickle.loads(job)
        except Exception as error:
            what = "" if isinstance(error, SuiteError) else f"{type(error).__name__}: "
            say("lost", f"its process could not begin it: {what}{error}")
        else:
            say("ended", attempt(run, folder, data, device, throttled(say)))
