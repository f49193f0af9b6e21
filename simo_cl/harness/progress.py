"""Tell the user how a suite is getting on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.terminal import tell
from simo_cl.wording import count, duration

_SECONDS_BETWEEN_LINES = 60.0
_RUNS_IN_A_LINE = 4
_LINES_AROUND_THE_TABLE = 6
_WIDTH_OF_A_BAR = 24


class SuiteProgress:
    """A context in which a suite runs.

    Args:
        console: to print to. A terminal shows a table of all runs or, where they are more than
            its lines, of those that are running; all others get a line for each event, and one a
            minute in between.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runs: dict[str, _Watched] = {}
        self._begun = 0
        self._started = self._said = time.monotonic()
        self._live = Live(
            console=console, get_renderable=self._table, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> SuiteProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, unfinished: Sequence[PlannedRun], *, finished: int = 0) -> None:
        """Runs are to be executed, beside so many that have finished before."""
        if finished:
            verb = "is" if finished == 1 else "are"
            total = finished + len(unfinished)
            self.tell(f"{finished} of {total} runs {verb} finished already.")
        self._runs = {run.name: _Watched(run) for run in unfinished}
        self._started = self._said = time.monotonic()

    def run_begins(self, run: PlannedRun, node: str = "") -> None:
        """A run begins, on that node of a cluster."""
        watched = self._runs[run.name]
        if not watched.number:
            self._begun += 1
            watched.number = self._begun
        watched.begin(node)
        if not self._console.is_terminal:
            place = f" on {node}" if node else ""
            self.tell(f"[{watched.number}/{len(self._runs)}] {run.name}{place} ...")

    def step(self, run: PlannedRun, taken: int, total: int) -> None:
        self._runs[run.name].step(taken, total)
        now = time.monotonic()
        if now - self._said > _SECONDS_BETWEEN_LINES and not self._console.is_terminal:
            self._said = now
            self.tell(self._line())

    def run_restarts(self, run: PlannedRun, reason: str) -> None:
        """A run has ended without a result, and will begin again."""
        self._runs[run.name].state = "waiting"
        self.warn(f"{run.name}: {reason}")

    def run_ends(self, run: PlannedRun, metrics: dict[str, float]) -> None:
        accuracy = metrics["average_accuracy"]
        self._end(run, "finished", f"average accuracy {accuracy:.4f}")

    def run_failed(self, run: PlannedRun, reason: str) -> None:
        self._end(run, "failed", f"FAILED: {reason}")

    def run_ended_elsewhere(self, run: PlannedRun, state: str) -> None:
        """Another command has ended a run."""
        watched = self._runs[run.name]
        watched.state, watched.outcome = "elsewhere", f"{state} by another command"
        self.tell(f"{run.name}: {watched.outcome}")

    def tell(self, message: str) -> None:
        """Prints a message as it is."""
        tell(self._console, message)

    def warn(self, message: str) -> None:
        self.tell(f"Warning: {message}")

    def _end(self, run: PlannedRun, state: str, outcome: str) -> None:
        watched = self._runs[run.name]
        if not watched.number:
            # It could not even begin.
            self.run_begins(run)
        watched.end(state, outcome)
        place = f"[{watched.number}/{len(self._runs)}]"
        self.tell(f"{place} {run.name}: {outcome} ({watched.seconds:.0f} s)")

    def _with(self, state: str) -> list[_Watched]:
        return [watched for watched in self._runs.values() if watched.state == state]

    def _table(self) -> RenderableType:
        if not self._runs:
            return Text()
        shown = list(self._runs.values())
        room = max(1, self._console.height - _LINES_AROUND_THE_TABLE)
        if len(shown) > room:
            shown = self._with("running")[:room]
        table = Table(box=None, pad_edge=False)
        table.add_column("run", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("progress", no_wrap=True, width=_WIDTH_OF_A_BAR)
        for column in ("steps", "time", "left"):
            table.add_column(column, justify="right", no_wrap=True)
        for watched in shown:
            table.add_row(*watched.cells())
        return Group(table, Text(self._summary()))

    def _line(self) -> str:
        """The summary, with some of the runs that are going on."""
        running = self._with("running")
        shares = [f"{w.run.name}: {w.share:.0%}" for w in running[:_RUNS_IN_A_LINE]]
        if len(running) > _RUNS_IN_A_LINE:
            shares.append("...")
        return f"{self._summary()} ({'; '.join(shares)})"

    def _summary(self) -> str:
        counts = Counter(watched.state for watched in self._runs.values())
        states = ("finished", "failed", "elsewhere", "running", "waiting")
        counted = ", ".join(f"{counts[state]} {state}" for state in states if counts[state])
        took = duration(time.monotonic() - self._started)
        text = f"{count(len(self._runs), 'run')}: {counted}; {took}"
        left = self._seconds_left()
        return text if left is None else f"{text}, about {duration(left)} left"

    def _seconds_left(self) -> float | None:
        """As many at once as now; those that wait take as long as others of their strategy, or of
        any where there is none."""
        by_label: dict[str, list[float]] = {}
        for watched in self._runs.values():
            if (seconds := watched.seconds_in_all()) is not None:
                by_label.setdefault(watched.run.label, []).append(seconds)
        known = [seconds for each in by_label.values() for seconds in each]
        if not known:
            return None
        running = [watched.seconds_left() or 0.0 for watched in self._with("running")]
        expected = [by_label.get(watched.run.label, known) for watched in self._with("waiting")]
        work = sum(running) + sum(sum(each) / len(each) for each in expected)
        return max([work / max(1, len(running)), *running])


@dataclass
class _Watched:
    """What is known of a run.

    Attributes:
        number: the place in which it began.
        seconds: that it took, once it has ended.
    """

    run: PlannedRun
    state: str = "waiting"
    number: int = 0
    seconds: float = 0.0
    outcome: str = ""
    node: str = ""
    taken: int = 0
    total: int = 0

    def begin(self, node: str) -> None:
        self._began, self.node = time.monotonic(), node
        self.taken = self.total = 0
        self.state = "running"

    def step(self, taken: int, total: int) -> None:
        if self.total == 0:
            # One that goes on from a checkpoint has not taken all its steps in this time.
            self._first, self._first_at = taken, time.monotonic()
        self.taken, self.total = taken, total

    def end(self, state: str, outcome: str) -> None:
        self.state, self.outcome = state, outcome
        self.seconds = time.monotonic() - self._began

    @property
    def share(self) -> float:
        return self.taken / self.total if self.total else 0.0

    def seconds_left(self) -> float | None:
        """Of a run that is going on, once two steps were told."""
        if self.state != "running" or not self.total:
            return None
        told = self.taken - self._first
        seconds = time.monotonic() - self._first_at
        return seconds * (self.total - self.taken) / told if told > 0 else None

    def seconds_in_all(self) -> float | None:
        if self.state == "finished":
            return self.seconds
        left = self.seconds_left()
        return None if left is None else time.monotonic() - self._began + left

    def cells(self) -> tuple[RenderableType, ...]:
        name, state = Text(self.run.name), self.state
        if self.state == "waiting":
            return name, state
        if self.state != "running":
            return name, state, Text(self.outcome.partition("\n")[0]), "", duration(self.seconds)
        bar = ProgressBar(total=self.total or None, completed=self.taken)
        steps = f"{self.taken}/{self.total}" if self.total else ""
        left = self.seconds_left()
        return (
            name,
            f"{self.state} on {self.node}" if self.node else self.state,
            bar,
            steps,
            duration(time.monotonic() - self._began),
            "" if left is None else duration(left),
        )
