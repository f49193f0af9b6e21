"""Tell the user how a suite is getting on: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simo_cl.harness.plan import Run


class _Running(NamedTuple):
    number: int
    started: float
    bar: TaskID


class SuiteProgress:
    """A context in which a suite runs.

    Args:
        console: to print to; a bar for the suite and one for each current run if it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._suite: TaskID | None = None
        self._total = 0
        self._running: dict[str, _Running] = {}
        self._begun = 0

    def __enter__(self) -> SuiteProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, unfinished: Sequence[Run], skipped: Sequence[Run]) -> None:
        if skipped:
            total = len(skipped) + len(unfinished)
            self.tell(f"{len(skipped)} of {total} runs are finished already.")
        self._total = len(unfinished)
        self._suite = self._bars.add_task("all runs", total=self._total)

    def run_begins(self, run: Run) -> None:
        self._begun += 1
        bar = self._bars.add_task(run.name, total=None)
        self._running[run.name] = _Running(self._begun, time.monotonic(), bar)
        if not self._console.is_terminal:
            self.tell(f"[{self._begun}/{self._total}] {run.name} ...")

    def step(self, run: Run, taken: int, total: int) -> None:
        self._bars.update(self._running[run.name].bar, completed=taken, total=total)

    def run_ends(self, run: Run, metrics: dict[str, float]) -> None:
        accuracy = metrics["average_accuracy"]
        self._end(run, f"average accuracy {accuracy:.4f}")

    def run_failed(self, run: Run, reason: str) -> None:
        self._end(run, f"FAILED: {reason}")

    def tell(self, message: str) -> None:
        """Prints a message as it is."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        self.tell(f"Warning: {message}")

    def _end(self, run: Run, outcome: str) -> None:
        running = self._running.pop(run.name)
        seconds = time.monotonic() - running.started
        self.tell(f"[{running.number}/{self._total}] {run.name}: {outcome} ({seconds:.0f} s)")
        self._bars.remove_task(running.bar)
        if self._suite is not None:
            self._bars.advance(self._suite)
