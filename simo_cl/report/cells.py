"""Tables of the page as rows of cells: a text to read, and a value to sort by and to copy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup, escape

from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.bootstrap import Estimate
from simo_cl.report.statistics import ALPHA, Comparison, seed_spread
from simo_cl.report.wording import show_number, show_signed
from simo_cl.results import Suite
from simo_cl.wording import duration


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and which way is better.

    Attributes:
        strip: "accuracy" or "difference" where the page also draws the column's values, on an axis
            of that kind; with a line at `reference`.
    """

    heading: str
    meaning: str = ""
    arrow: str = ""
    strip: str = ""
    reference: float | None = None


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it sorts by and copies as.

    Attributes:
        deviation: over seeds.
        low, high: ends of an interval.
        minor: the deviation or the interval, as it is shown.
        by_seed: the values that the mean is of, where they are drawn.
        bold: whether it is set apart.
    """

    text: str = ""
    value: float | str | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    minor: str = ""
    by_seed: tuple[float, ...] = ()
    bold: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.minor}".rstrip()


@dataclass(frozen=True)
class Row:
    """A strategy's row if `label` is set; `head` is its first cell."""

    head: str
    cells: tuple[Cell, ...]
    label: str = ""


@dataclass(frozen=True)
class Group:
    """Rows under a title of their own, if they have one."""

    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with the heading of its first column; `note` says what its numbers are."""

    key: str
    caption: str
    first: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    note: str = ""


def metric_cell(suite: Suite, label: str, name: str) -> Cell:
    """A final metric of one row, mean and deviation over seeds; empty where undefined."""
    over_seeds = seed_spread(suite, label, name)
    if name.endswith("_seconds"):
        return spread_cell(over_seeds, duration)
    if name in ("cost/steps", "cost/images"):
        return spread_cell(over_seeds, "{:,.0f}".format, minor_zero=False)
    return spread_cell(over_seeds)


def spread_cell(
    over_seeds: Spread | None,
    show: Callable[[float], str] = show_number,
    *,
    minor_zero: bool = True,
) -> Cell:
    """Mean and deviation of a number, or an empty cell.

    Args:
        minor_zero: show a deviation that is zero.
    """
    if over_seeds is None:
        return Cell()
    mean, std = over_seeds.mean, over_seeds.std
    with_std = std is not None and (std > 0 or minor_zero)
    return Cell(show(mean), mean, std, minor=f"± {show(std or 0.0)}" if with_std else "")


def difference_cell(comparison: Comparison | None) -> Cell:
    """A difference from the control with its interval, or why there is none."""
    if comparison is None or comparison.difference is None:
        return Cell(comparison.reason if comparison else "")
    difference = Estimate(comparison.difference, comparison.low, comparison.high)
    return estimate_cell(difference, show_signed)


def estimate_cell(estimate: Estimate | None, show: Callable[[float], str] = show_number) -> Cell:
    """A statistic with its interval, or an empty cell."""
    if estimate is None:
        return Cell()
    value, low, high = estimate.value, estimate.low, estimate.high
    minor = "" if low is None or high is None else f"[{show(low)}, {show(high)}]"
    return Cell(show(value), value, low=low, high=high, minor=minor)


def number_cell(value: float | None, style: str = "") -> Cell:
    """One number, or an empty cell.

    Args:
        style: a format such as "{:.4g}" instead of `show_number`.
    """
    if value is None:
        return Cell()
    return Cell(style.format(value) if style else show_number(value), value)


def p_cell(p: float | None) -> Cell:
    """A p value: three decimals, and as many more as it takes to be told from the level that a
    verdict needs."""
    if p is not None and p < 0.001:
        return Cell("< 0.001", p)
    digits = 3
    while p is not None and p != ALPHA and digits < 9 and round(p, digits) == ALPHA:
        digits += 1
    return number_cell(p, f"{{:.{digits}f}}")


def breakable(name: str) -> Markup:
    """A key or a row's label, which may break after its separators."""
    return Markup(re.sub(r"([._,=\[])", r"\1<wbr>", str(escape(name))))


def spread_note(suite: Suite) -> str:
    """What `mean ± deviation` is over."""
    counts = sorted({len(suite.finished(label)) for label in suite.finished_labels})
    if counts in ([], [1]):
        return "One seed" if counts else ""
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    of_one = ", of one there is none" if counts[0] == 1 else ""
    return f"Mean ± standard deviation over {seeds} seeds{of_one}"
