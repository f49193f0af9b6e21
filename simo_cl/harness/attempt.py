"""One attempt at a run: whatever happens to it is in its folder, and the caller goes on."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder
from simo_cl.streams import DataError, DataSet

_SECONDS_BETWEEN_STEPS = 0.2

Listener = Callable[..., None]
"""Told ``"step"`` with the steps taken and in all, and ``"warning"`` with a text."""

RunsListener = Callable[..., None]
"""Told of a run what happens to it: ``"begins"``, perhaps with the name of a node; ``"step"`` and
``"warning"`` as above; ``"restarts"`` with the reason; ``"ended"``, or by another command ``"ended
elsewhere"``, with why it failed or None; ``"lost"`` with why it ended without its folder saying so.
"""


def attempt(
    run: PlannedRun, folder: Path, data: DataSet, device: torch.device, listener: Listener
) -> str | None:
    """Executes a run and records a failure in its folder.

    Args:
        run: to execute.
        folder: of the suite.
        data: that it trains on.
        device: to train on.
        listener: told of each step, and each warning once, but for those of libraries to their
            developers.

    Returns:
        Why it failed, if it did.
    """
    run_folder = RunFolder(folder / run.folder)
    try:
        # As many for the linear algebra of read-outs as torch has for training.
        with threadpool_limits(run.settings.training.threads), _warnings_in(run_folder, listener):
            execute_run(run, data, run_folder, device, partial(listener, "step"))
    except Exception as error:
        return _recorded(error, run_folder)
    return None


def throttled(listener: Listener) -> Listener:
    """Passes on a few steps a second, for a listener in another process."""
    passed = 0.0

    def pass_on(kind: str, *content: object) -> None:
        nonlocal passed
        if kind == "step":
            now = time.monotonic()
            if now - passed <= _SECONDS_BETWEEN_STEPS:
                return
            passed = now
        listener(kind, *content)

    return pass_on


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


@contextmanager
def _warnings_in(folder: RunFolder, listener: Listener) -> Iterator[None]:
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
            listener("warning", f"{text} (see {folder.path / 'log.txt'})")

    with warnings.catch_warnings():
        warnings.showwarning = note  # type: ignore[assignment]
        yield
