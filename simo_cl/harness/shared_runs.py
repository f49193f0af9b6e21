"""A suite's runs, shared out among several commands on one folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from simo_cl.harness.attempt import attempt
from simo_cl.harness.execute_suite import Outcome
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.results import RunFolder, read_status
from simo_cl.streams import DataSet

_SECONDS_BETWEEN_LOOKS = 1.0


def execute_shared(
    runs: Sequence[PlannedRun],
    folder: Path,
    claims: Path,
    *,
    data: DataSet,
    device: torch.device,
    progress: SuiteProgress,
) -> Outcome:
    """Executes, one after the other, the runs that no other command is at, until none is left.

    A run is claimed by a lock on a file, which the operating system frees when the command ends,
    however it ends: another one then goes on with the run. What has failed since this command began
    is not tried again.

    Args:
        runs: of the suite; all commands have the same, or some of the same.
        folder: that the run folders are relative to.
        claims: folder for the locks, the same for all commands.
        data: from :func:`checked_data`.
        device: to train on.
        progress: told of every step.

    Returns:
        What came of all runs: those that others have finished are skipped ones.
    """
    outcome = Outcome()
    left: list[PlannedRun] = []
    for run in runs:
        finished = RunFolder(folder / run.folder).state == "finished"
        (outcome.skipped if finished else left).append(run)
    progress.begin(left, outcome.skipped)
    failed_before = {run.name: _failure(folder / run.folder) for run in left}

    def is_over(run: PlannedRun) -> bool:
        """Whether another command has ended it; then it is noted."""
        path = folder / run.folder
        # Has a network file system look for what other machines have renamed in there.
        with suppress(OSError):
            os.listdir(path)
        failure = _failure(path)
        if RunFolder(path).state == "finished":
            outcome.skipped.append(run)
            progress.run_ended_elsewhere(run, "finished")
        elif failure is not None and failure != failed_before[run.name]:
            outcome.failed[run.name] = f"in another command: {failure[1]}"
            progress.run_ended_elsewhere(run, "failed")
        else:
            return False
        return True

    while left:
        waiting = []
        for run in left:
            if is_over(run):
                continue
            with _claimed(claims / f"{'_'.join(run.folder.parts)}.lock") as is_mine:
                if not is_mine:
                    waiting.append(run)
                elif not is_over(run):
                    progress.run_begins(run)
                    step = partial(progress.step, run)
                    reason = attempt(run, folder, data, device, step, progress.warn)
                    if reason is None:
                        outcome.finished.append(run)
                        progress.run_ends(run, RunFolder(folder / run.folder).last_metrics())
                    else:
                        outcome.failed[run.name] = reason
                        progress.run_failed(run, reason)
        if len(waiting) == len(left):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        left = waiting
    return outcome


def _failure(path: Path) -> tuple[float | None, str] | None:
    """When a run failed and with what, if it has."""
    with suppress(FileNotFoundError, ValueError):
        status = read_status(path)
        if status is not None and status.state == "failed":
            return status.ended, status.error.message if status.error else ""
    return None


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether the lock could be had, which is held as long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
