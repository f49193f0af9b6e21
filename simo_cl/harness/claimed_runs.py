"""How commands that share a suite's runs share them out."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path

from simo_cl.harness.attempt import RunsListener
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.suite_lock import held_if_free
from simo_cl.results import RunFolder, read_status

_SECONDS_BETWEEN_CLAIMS = 1.0


def claimed_runs(
    runs: Sequence[PlannedRun], folder: Path, claims: Path, listener: RunsListener
) -> Generator[PlannedRun, None, None]:
    """Gives, one after the other, the runs that no other command is at, until none is left.

    A run is claimed, until the next one is asked for, by a lock on a file, which the operating
    system frees when the command ends, however it ends: another one then goes on with the run. What
    has failed since this command began is not tried again.

    Args:
        runs: of the suite; all commands have the same, or some of the same.
        folder: that the run folders are relative to.
        claims: folder for the locks, the same for all commands.
        listener: told of the runs that others have ended.
    """
    claims.mkdir(parents=True, exist_ok=True)
    failed_before = {run.name: _failure(folder / run.folder) for run in runs}

    def is_over(run: PlannedRun) -> bool:
        """Whether another command has ended it; then it is told."""
        path = folder / run.folder
        # Has a network file system look for what other machines have renamed in there.
        with suppress(OSError):
            os.listdir(path)
        failure = _failure(path)
        if RunFolder(path).state == "finished":
            listener(run, "ended elsewhere", None)
        elif failure is not None and failure != failed_before[run.name]:
            listener(run, "ended elsewhere", failure[1])
        else:
            return False
        return True

    left = list(runs)
    while left:
        waiting = []
        for run in left:
            if is_over(run):
                continue
            with held_if_free(claims / f"{'_'.join(run.folder.parts)}.lock") as is_mine:
                if not is_mine:
                    waiting.append(run)
                elif not is_over(run):
                    yield run
        if len(waiting) == len(left):
            time.sleep(_SECONDS_BETWEEN_CLAIMS)
        left = waiting


def _failure(path: Path) -> tuple[float | None, str] | None:
    """When a run failed and with what, if it has."""
    with suppress(FileNotFoundError, ValueError):
        status = read_status(path)
        if status is not None and status.state == "failed":
            return status.ended, status.error.message if status.error else ""
    return None
