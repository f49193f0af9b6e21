"""The kinds of panel that the figures are made of, drawn on matplotlib axes.

Everything is drawn in the light palette. What a reader may want to point at carries a mark in its
gid (see `mark`); `svg.py` turns marks into data attributes and colours into CSS variables for the
page, and drops the marks from the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.transforms import Bbox, TransformedBbox
from scipy.optimize import isotonic_regression

from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.statistics import half_width
from simo_cl.report.wording import fixed
from simo_cl.results.styles import INK, MUTED, RULE, SURFACE, Style

# Typed loosely: matplotlib spells out every key and the type of its value.
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK[0],
    "axes.labelcolor": MUTED[0],
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 7,
    "axes.edgecolor": RULE[0],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE[0],
    "grid.linewidth": 0.6,
    "xtick.color": RULE[0],
    "ytick.color": RULE[0],
    "xtick.labelcolor": MUTED[0],
    "ytick.labelcolor": MUTED[0],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "simo-cl",
    # Whole letters: many publishers refuse the drawn ones that are the default.
    "pdf.fonttype": 42,
}
# Cells are one colour whose opacity is the value, so that they sit on a white or a dark page.
POSITIVE, NEGATIVE = (40, 82, 174), (204, 131, 23)
# Of text on a strong cell, on both pages: the palette's own white and ink would follow the page.
ON_POSITIVE, ON_NEGATIVE = "#fffffe", "#1b222d"
MARK_PREFIX = "mark:"
# From one name beside the axes to the next, as in `templates/rescale.js`.
NAME_POINTS = 10.5
# With two seeds the t interval is nine deviations to a side, and a band would be all there is.
SEEDS_FOR_A_BAND = 3
ANY_VALUE = (-math.inf, math.inf)


class Point(NamedTuple):
    """A row's value at x, with the further lines of its tooltip; without any it has no marker."""

    x: float
    y: Spread
    label: str
    tip: str = ""


@dataclass(frozen=True)
class Line:
    """Points that a line joins, with a name at its end; a single one is a line, too.

    Attributes:
        band: whether the intervals over seeds are drawn around it.
    """

    name: str
    style: Style
    points: tuple[Point, ...]
    band: bool = True

    @property
    def rows(self) -> tuple[str, ...]:
        """That it belongs to."""
        return tuple(dict.fromkeys(point.label for point in self.points))


def mark(*rows: str, tip: str = "", **further: str) -> str:
    """A gid that says what the page must know of an artist; each part becomes a data attribute.

    Args:
        rows: that the artist belongs to; it is shown as long as one of them is.
        tip: of its tooltip.
        further: what `templates/rescale.js` goes by.
    """
    marked = {"series": "\n".join(rows), "tip": tip, **further}
    return MARK_PREFIX + json.dumps({key: text for key, text in marked.items() if text})


def follow_choice(axis: XAxis | YAxis, bounds: tuple[float, float] = ANY_VALUE) -> None:
    """Let the page rescale a linear axis to the rows that are shown; call it once all is drawn.

    Unmarked artists stay where they are; `mark(moves="yes")` is for those that belong to no row.

    Args:
        bounds: the least and the greatest value that there can be.
    """
    drawn, possible = (f"{low:.9g} {high:.9g}" for low, high in (axis.get_view_interval(), bounds))
    axis.set_gid(mark(axis=axis.axis_name, range=drawn, bounds=possible))


def draw_lines(ax: Axes, lines: Sequence[Line], bounds: tuple[float, float] = ANY_VALUE) -> None:
    """Lines with their markers, and their bands as in `draw_band`, which explains the bounds."""
    for line in lines:
        xs = [point.x for point in line.points]
        if len(xs) > 1:
            spreads = [point.y for point in line.points]
            if line.band:
                draw_band(ax, xs, spreads, line.style, line.rows, bounds)
            means = [over_seeds.mean for over_seeds in spreads]
            of = mark(*line.rows)
            ax.plot(xs, means, color=line.style.colour, linestyle=line.style.dashes, gid=of)
        for x, y, label, tip in line.points:
            if tip:
                draw_point(ax, x, y.mean, line.style, label, tip)


def draw_band(
    ax: Axes,
    xs: Sequence[float],
    spreads: Sequence[Spread],
    style: Style,
    rows: Sequence[str],
    bounds: tuple[float, float] = ANY_VALUE,
) -> None:
    """The 95 % t interval of each mean over seeds, where all have `SEEDS_FOR_A_BAND`.

    Args:
        rows: that the band belongs to.
        bounds: the least and the greatest value that there can be, where the band ends.
    """
    widths = [half_width(s) for s in spreads if s.count >= SEEDS_FOR_A_BAND]
    if len(widths) < len(spreads):
        return
    means, reach = np.array([s.mean for s in spreads]), np.array(widths, float)
    low, high = np.clip(means - reach, *bounds), np.clip(means + reach, *bounds)
    # One closed line, as unlike `fill_between` it is drawn where its vertices say.
    (band,) = ax.fill(
        [*xs, *reversed(xs)], [*low, *high[::-1]], color=style.colour, alpha=0.13, linewidth=0
    )
    band.set_gid(mark(*rows))


def look(style: Style) -> dict[str, Any]:
    """A row's marker in matplotlib's words."""
    return {
        "marker": style.marker,
        "markersize": 8 if style.marker == "*" else 5.5,
        "markerfacecolor": style.colour if style.filled else SURFACE[0],
        "markeredgecolor": SURFACE[0] if style.filled else style.colour,
        "markeredgewidth": 0.6 if style.filled else 1.2,
    }


def draw_point(ax: Axes, x: float, y: float, style: Style, label: str, tip: str) -> None:
    """A row's marker at (x, y), with the tooltip's further lines."""
    (point,) = ax.plot([x], [y], **look(style), linestyle="none", zorder=4)
    point.set_gid(mark(label, tip=f"{label}\n{tip}"))
    # Whole at the edge of the axes, and out of sight where the page takes it beyond.
    point.set_clip_box(TransformedBbox(Bbox([[-0.05, -0.05], [1.05, 1.05]]), ax.transAxes))


def name_lines(ax: Axes, lines: Sequence[Line]) -> None:
    """Names beside the axes at the right, moved apart, each tied to its line's last point."""
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    ends = [(line.points[-1].x, line.points[-1].y.mean) for line in lines]
    placed = spread_labels([y for _, y in ends], NAME_POINTS * (high - low) / height, low, high)
    left, right = ax.get_xlim()
    for line, end, label_y in zip(lines, ends, placed, strict=True):
        colour = line.style.colour
        tie = ax.annotate(
            line.name,
            xy=end,
            xytext=(right + (right - left) * 0.03, label_y),
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )
        named = mark(*line.rows, name=line.name)
        tie.set_gid(named)
        if tie.arrow_patch is not None:
            tie.arrow_patch.set_gid(named)


def shaded(values: np.ndarray) -> np.ndarray:
    """Values -1 to 1 as colours of cells: (rows, columns) to (rows, columns, 4); NaN is empty."""
    known = np.nan_to_num(np.clip(values, -1, 1))
    cells = np.empty((*known.shape, 4), dtype=np.uint8)
    cells[..., :3] = np.where(known[..., None] < 0, NEGATIVE, POSITIVE)
    cells[..., 3] = np.round(255 * np.abs(known))
    return cells


def draw_heat_map(
    ax: Axes, values: np.ndarray, *, numbers: bool, borders: Sequence[int] = ()
) -> None:
    """A matrix as cells whose opacity is the value, 0 to 1 (or -1 to 1); NaN cells stay empty.

    Args:
        values: (rows, columns).
        numbers: write each value into its cell.
        borders: draw a line before these rows and columns, between experiences.
    """
    ax.imshow(shaded(values), interpolation="none", aspect="equal")
    ax.set_anchor("N")
    ax.spines[:].set_visible(True)
    rows, columns = values.shape
    if borders:
        between = np.array(borders) - 0.5
        ax.hlines(between, -0.5, columns - 0.5, color=RULE[0], linewidth=0.6)
        ax.vlines(between, -0.5, rows - 0.5, color=RULE[0], linewidth=0.6)
    if not numbers:
        return
    size = 7.5 if values.shape[1] <= 6 else 5
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        write_in_cell(ax, row, column, short(fixed(value, 2)), size, value)


def write_in_cell(
    ax: Axes, row: float, column: float, text: str, size: float, value: float
) -> None:
    """Text around a place of a heat map, which can be read on the cell of such a value."""
    colour = ON_POSITIVE if value > 0.75 else ON_NEGATIVE if value < -0.55 else INK[0]
    ax.text(column, row, text, fontsize=size, color=colour, ha="center", va="center")


def draw_dots(ax: Axes, xy: np.ndarray, colour: str, *, size: float = 2.6) -> None:
    """Many points of one colour as a single path: a tenth of the size of separate markers."""
    # A point is a stroke of no visible length with round ends. Agg draws nothing if the length is
    # exactly none, as snapping to pixels would make it.
    ends = xy + np.array([np.ptp(xy[:, 0]) * 1e-4 + 1e-6, 0.0])
    vertices = np.stack([xy, ends], axis=1).reshape(-1, 2)
    outline = Outline(vertices, np.tile([Outline.MOVETO, Outline.LINETO], len(xy)))
    # Simplification would take strokes this short for noise and drop them.
    outline.should_simplify = False
    how = {"linewidth": size, "capstyle": "round", "alpha": 0.65, "snap": False}
    ax.add_patch(PathPatch(outline, facecolor="none", edgecolor=colour, **how))


def spread_labels(
    positions: Sequence[float],
    distance: float,
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Move positions apart until neighbours are at least `distance` apart, as little as can be:
    by the least sum of squares, within `low` and `high` where there is room."""
    if not positions:
        return []
    order = np.argsort(positions, kind="stable")
    # Less the distances below each, they need only ascend.
    below = distance * np.arange(len(order))
    ascending = isotonic_regression(np.take(positions, order) - below).x
    placed = np.empty(len(order))
    placed[order] = np.maximum(low, np.minimum(ascending, high - below[-1])) + below
    return placed.tolist()


def show_value(over_seeds: Spread) -> str:
    """`0.523 ± 0.004 (5 seeds)`."""
    number = fixed(over_seeds.mean, 3)
    if over_seeds.std is None:
        return f"{number} (1 seed)"
    return f"{number} ± {over_seeds.std:.3f} ({over_seeds.count} seeds)"


def short(number: str) -> str:
    """Without a zero before the point, for narrow cells."""
    return number.replace("0.", ".", 1)
