"""Tables of the page as rows of cells: a text to read, and a value to sort by and to copy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.bootstrap import Estimate
from simo_cl.report.statistics import Comparison, seed_spread
from simo_cl.report.tables import show_number, show_seconds, show_signed
from simo_cl.results import Suite


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and which way is better."""

    heading: str
    meaning: str = ""
    arrow: str = ""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it sorts by and copies as.

    Attributes:
        deviation: over seeds.
        low, high: ends of an interval.
        minor: the deviation or the interval, as it is shown.
    """

    text: str = ""
    value: float | str | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    minor: str = ""


@dataclass(frozen=True)
class Row:
    """A strategy's row if `label` is set; `head` is its first cell."""

    head: str
    cells: tuple[Cell, ...]
    label: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with the heading of its first column; `note` says what its numbers are."""

    key: str
    caption: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""


def metric_cell(suite: Suite, label: str, name: str) -> Cell:
    """A final metric of one row, mean and deviation over seeds; empty where undefined."""
    over_seeds = seed_spread(suite, label, name)
    if over_seeds is None:
        return Cell()
    counted = name in ("cost/steps", "cost/images")
    show = show_seconds if name.endswith("_seconds") else _show_count if counted else show_number
    minor = "" if over_seeds.std is None else f"± {show(over_seeds.std)}"
    if counted and over_seeds.std == 0:
        minor = ""
    return Cell(show(over_seeds.mean), over_seeds.mean, over_seeds.std, minor=minor)


def difference_cell(comparison: Comparison) -> Cell:
    """A difference from the control with its interval; empty where no seed is shared."""
    value, low, high = comparison.difference, comparison.low, comparison.high
    if value is None:
        return Cell()
    if low is None or high is None:
        return Cell(show_signed(value), value)
    minor = f"[{show_signed(low)}, {show_signed(high)}]"
    return Cell(show_signed(value), value, low=low, high=high, minor=minor)


def spread_cell(over_seeds: Spread | None) -> Cell:
    """Mean and deviation of a number, or an empty cell."""
    if over_seeds is None:
        return Cell()
    minor = "" if over_seeds.std is None else f"± {show_number(over_seeds.std)}"
    return Cell(show_number(over_seeds.mean), over_seeds.mean, over_seeds.std, minor=minor)


def estimate_cell(estimate: Estimate | None) -> Cell:
    """A statistic with its interval, or an empty cell."""
    if estimate is None:
        return Cell()
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None or high is None:
        return Cell(show_number(value), value)
    minor = f"[{show_number(low)}, {show_number(high)}]"
    return Cell(show_number(value), value, low=low, high=high, minor=minor)


def number_cell(value: float | None, style: str = "") -> Cell:
    """One number, or an empty cell.

    Args:
        style: a format such as "{:.4g}" instead of `show_number`.
    """
    if value is None:
        return Cell()
    return Cell(style.format(value) if style else show_number(value), value)


def breakable(name: str) -> Markup:
    """A key or a row's label, which may break after its separators."""
    return Markup(re.sub(r"([._,=\[])", r"\1<wbr>", str(escape(name))))


def _show_count(value: float) -> str:
    return f"{value:,.0f}"


def spread_note(suite: Suite) -> str:
    """What `mean ± deviation` is over."""
    counts = sorted({len(suite.finished(label)) for label in suite.finished_labels})
    if counts in ([], [1]):
        return "One seed" if counts else ""
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Mean ± standard deviation over {seeds} seeds"
