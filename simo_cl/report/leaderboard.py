"""The first table of the page: every strategy, grouped by what the tests tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.cells import spread_note
from simo_cl.report.statistics import (
    ALPHA,
    PRIMARY_METRIC,
    Comparison,
    Verdict,
    half_width,
    seed_spread,
)
from simo_cl.results import Suite

# `templates/strips.js` has the same rule for the rows that are shown.
FLATTENS = 2.5


@dataclass(frozen=True)
class Standing:
    """One strategy's row.

    Attributes:
        interval: the ends of the 95 % t interval of its mean accuracy, with more than one seed.
        by_seed: its average accuracy with each finished seed.
        comparison: with the control, if it takes part in the tests.
    """

    label: str
    seeds: int
    accuracy: Spread | None
    interval: tuple[float, float] | None
    by_seed: tuple[float, ...]
    forgetting: Spread | None
    comparison: Comparison | None
    is_control: bool
    is_joint: bool


@dataclass(frozen=True)
class Group:
    """Strategies that the data do not order among themselves, in the plan's order."""

    title: str
    note: str
    standings: tuple[Standing, ...]


@dataclass(frozen=True)
class Leaderboard:
    """The groups, and the ranges that the drawn accuracies and differences span.

    Attributes:
        low, high: accuracies are drawn from low to high.
        reach: differences are drawn from -reach to reach.

    One row that would flatten all others is beyond these ranges and drawn at their edge.
    """

    groups: tuple[Group, ...]
    low: float
    high: float
    reach: float
    control: str | None
    control_accuracy: float | None
    has_spread: bool
    has_intervals: bool
    has_wilcoxon: bool
    seeds_differ: bool
    note: str

    def place(self, accuracy: float) -> float:
        """Where an accuracy is drawn, in percent of the range."""
        share = (accuracy - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def make_leaderboard(suite: Suite, comparisons: Sequence[Comparison]) -> Leaderboard:
    """Group every row with a finished run; empty groups are left out."""
    by_label = {c.label: c for c in comparisons}
    standings = [_standing(suite, label, by_label.get(label)) for label in suite.finished_labels]
    control = next((s for s in standings if s.label == suite.control), None)
    low, high = _span(standings)
    return Leaderboard(
        low=low,
        high=high,
        groups=tuple(group for group in _groups(suite, standings) if group.standings),
        reach=_reach(comparisons),
        control=suite.control if any(c.difference is not None for c in comparisons) else None,
        control_accuracy=control.accuracy.mean if control and control.accuracy else None,
        has_spread=any(standing.interval is not None for standing in standings),
        has_intervals=any(c.low is not None for c in comparisons),
        has_wilcoxon=any(c.p_wilcoxon is not None for c in comparisons),
        seeds_differ=len({standing.seeds for standing in standings}) > 1,
        note=_note(suite, comparisons),
    )


def _standing(suite: Suite, label: str, comparison: Comparison | None) -> Standing:
    accuracy = seed_spread(suite, label, PRIMARY_METRIC)
    reach = half_width(accuracy) if accuracy is not None else None
    interval = None
    if accuracy is not None and reach is not None:
        interval = (accuracy.mean - reach, accuracy.mean + reach)
    return Standing(
        label=label,
        seeds=len(suite.finished(label)),
        accuracy=accuracy,
        interval=interval,
        by_seed=tuple(suite.values(label, PRIMARY_METRIC).values()),
        forgetting=seed_spread(suite, label, "forgetting"),
        comparison=comparison,
        is_control=suite.control is not None and suite.counterpart(label, suite.control) == label,
        is_joint=suite.is_joint(label),
    )


def _groups(suite: Suite, standings: Sequence[Standing]) -> Iterable[Group]:
    streamed = [s for s in standings if not s.is_joint]
    joint = tuple(s for s in standings if s.is_joint)
    bound = Group("All classes at once", "no stream: a bound, not a competitor", joint)
    if not any(s.comparison is not None and s.comparison.p is not None for s in streamed):
        yield Group("On the stream", "in the suite's order", tuple(streamed))
        yield bound
        return
    titles: dict[Verdict, tuple[str, str]] = {
        "above": (f"Above {suite.control}", ""),
        "not told apart": (
            f"Not told apart from {suite.control}",
            "which does not mean equal",
        ),
        "below": (f"Below {suite.control}", ""),
        "untested": ("Not tested", ""),
    }
    controls = tuple(s for s in streamed if s.is_control)
    for verdict, (title, note) in titles.items():
        found = tuple(
            s
            for s in streamed
            if not s.is_control
            and (s.comparison.verdict if s.comparison is not None else "untested") == verdict
        )
        yield Group(title, note, found)
        if verdict == "above":
            yield Group("The control", "named in advance in the suite", controls)
    yield bound


def _note(suite: Suite, comparisons: Sequence[Comparison]) -> str:
    parts = [spread_note(suite)]
    if any(c.low is not None for c in comparisons):
        parts.append("differences with 95 % paired t intervals, p after Holm")
    if any(c.verdict == "above" for c in comparisons):
        parts.append(f"bold: above {suite.control} (p < {ALPHA:.2g})")
    return "; ".join(parts)


def _span(standings: Sequence[Standing]) -> tuple[float, float]:
    """Tenths around every seed's accuracy, without the lowest row's if it would flatten all."""
    rows = sorted(standing.by_seed for standing in standings if standing.by_seed)
    if not rows:
        return 0.0, 1.0
    lowest, *others = [min(row) for row in rows]
    high = max(max(row) for row in rows)
    if len(rows) > 2 and high - lowest > FLATTENS * (high - min(others)):
        lowest = min(others)
    return (
        max(0.0, math.floor(10 * lowest - 0.2) / 10),
        min(1.0, math.ceil(10 * high + 0.2) / 10),
    )


def _reach(comparisons: Sequence[Comparison]) -> float:
    extents = sorted(
        max(abs(bound) for bound in (c.difference, c.low, c.high) if bound is not None)
        for c in comparisons
        if c.difference is not None
    )
    if not extents:
        return 1.0
    outlier = len(extents) > 2 and extents[-1] > FLATTENS * extents[-2]
    return 1.08 * (extents[-2] if outlier else extents[-1]) or 1.0
