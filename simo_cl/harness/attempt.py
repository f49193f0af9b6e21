"""One attempt at a run: whatever happens to it is in its folder, and the caller goes on."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from simo_cl.harness.execute_run import Progress, execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder
from simo_cl.streams import DataError, DataSet

_SECONDS_BETWEEN_STEPS = 0.2


def attempt(
    run: PlannedRun,
    folder: Path,
    data: DataSet,
    device: torch.device,
    step: Progress,
    warn: Callable[[str], None],
) -> str | None:
    """Executes a run and records a failure in its folder.

    Args:
        run: to execute.
        folder: of the suite.
        data: that it trains on.
        device: to train on.
        step: told (steps taken, steps in all).
        warn: told each warning once, but for those of libraries to their developers.

    Returns:
        Why it failed, if it did.
    """
    run_folder = RunFolder(folder / run.folder)
    try:
        # As many for the linear algebra of read-outs as torch has for training.
        with threadpool_limits(run.settings.training.threads), _warnings_in(run_folder, warn):
            execute_run(run, data, run_folder, device, step)
    except Exception as error:
        return _recorded(error, run_folder)
    return None


def _recorded(error: Exception, folder: RunFolder) -> str:
    """Writes a failure into the run's folder if that can be; gives it in words."""
    reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    try:
        folder.fail(error)
    except OSError as another:
        # A full disk, or one that is gone: other runs may be elsewhere, or need less.
        trace = "" if isinstance(error, OSError) else "".join(traceback.format_exception(error))
        return f"{reason} ({folder.path} cannot be written: {another})\n{trace}".strip()
    if isinstance(error, DataError):
        return reason
    return f"{reason} (traceback in {folder.path / 'log.txt'})"


def throttled(step: Progress) -> Progress:
    """Passes on a few calls a second, for a listener in another process."""
    passed = 0.0

    def pass_on(taken: int, total: int) -> None:
        nonlocal passed
        now = time.monotonic()
        if now - passed > _SECONDS_BETWEEN_STEPS:
            passed = now
            step(taken, total)

    return pass_on


@contextmanager
def _warnings_in(folder: RunFolder, warn: Callable[[str], None]) -> Iterator[None]:
    """Writes warnings into the run's log; on the terminal each shows once, and those of libraries
    to their developers (Avalanche repeats some at every experience) not at all."""
    shown = set()

    def note(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
    ) -> None:
        text = f"{category.__name__}: {message}"
        folder.log(f"{text} ({filename}, line {lineno})")
        if not issubclass(category, DeprecationWarning) and text not in shown:
            shown.add(text)
            warn(f"{text} (see {folder.path / 'log.txt'})")

    with warnings.catch_warnings():
        warnings.showwarning = note  # type: ignore[assignment]
        yield
