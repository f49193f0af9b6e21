"""The kinds of panel that the figures are made of, drawn on matplotlib axes.

Everything is drawn in the light palette. What a reader may want to point at carries a mark in its
gid (see `mark`); `svg.py` turns marks into data attributes and colours into CSS variables for the
page, and drops the marks from the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

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
# Text on a strong cell stays white on both pages; pure white would follow the page's surface.
ON_STRONG = "#fffffe"
MARK_PREFIX = "mark:"
# With two seeds the t interval is nine deviations to a side, and a band would be all there is.
SEEDS_FOR_A_BAND = 3


@dataclass(frozen=True)
class Curve:
    """One row's values over the experiences trained; a joint row has one, beside the axis."""

    label: str
    points: tuple[tuple[int, Spread], ...]
    joint: bool = False


def mark(*rows: str, tip: str = "", **further: str) -> str:
    """A gid that says what the page must know of an artist; each part becomes a data attribute.

    Args:
        rows: that the artist belongs to; it is shown as long as one of them is.
        tip: of its tooltip.
        further: what `templates/rescale.js` goes by.
    """
    marked = {"series": "\n".join(rows), "tip": tip, **further}
    return MARK_PREFIX + json.dumps({key: text for key, text in marked.items() if text})


def follow_choice(axis: XAxis | YAxis) -> None:
    """Let the page rescale a linear axis to the rows that are shown; call it once all is drawn.

    Unmarked artists stay where they are; `mark(moves="yes")` is for those that belong to no row.
    """
    low, high = axis.get_view_interval()
    axis.set_gid(mark(axis=axis.axis_name, range=f"{low:.9g} {high:.9g}"))


def draw_curves(
    ax: Axes,
    curves: Sequence[Curve],
    styles: Mapping[str, Style],
    *,
    experiences: int,
    y_range: tuple[float | None, float | None] = (None, None),
    bounds: tuple[float, float] = (-math.inf, math.inf),
    name_lines: bool = False,
) -> None:
    """Lines over the experiences trained, with bands as in `draw_band`.

    Joint rows stand in a column of their own at the right: they have no experiences.

    Args:
        bounds: the least and the greatest value that there can be.
    """
    ends = []
    for curve in curves:
        style = styles[curve.label]
        xs = [experiences + 1.0] if curve.joint else [x + 1.0 for x, _ in curve.points]
        means = np.array([over_seeds.mean for _, over_seeds in curve.points])
        if not curve.joint:
            spreads = [over_seeds for _, over_seeds in curve.points]
            draw_band(ax, xs, spreads, style, (curve.label,), bounds=bounds)
            (line,) = ax.plot(xs, means, color=style.colour, linestyle=style.dashes)
            line.set_gid(mark(curve.label))
        for x, (_, over_seeds) in zip(xs, curve.points, strict=True):
            where = "joint" if curve.joint else f"after experience {x:.0f}"
            tip = f"{where}: {show_value(over_seeds)}"
            draw_point(ax, x, over_seeds.mean, style, curve.label, tip)
        ends.append((curve.label, xs[-1], float(means[-1])))
    _experience_axis(ax, experiences, [curve.label for curve in curves if curve.joint])
    ax.set_ylim(*y_range)
    follow_choice(ax.yaxis)
    if name_lines:
        name_points(ax, ends, styles)


def draw_band(
    ax: Axes,
    xs: Sequence[float],
    spreads: Sequence[Spread],
    style: Style,
    rows: Sequence[str],
    factor: float = 1.0,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    """The 95 % t interval of each mean over seeds, where all have `SEEDS_FOR_A_BAND`.

    Args:
        rows: that the band belongs to.
        factor: what the values are multiplied by.
        bounds: the least and the greatest value that there can be, where the band ends.
    """
    widths = [half_width(s) for s in spreads if s.count >= SEEDS_FOR_A_BAND]
    if len(widths) < len(spreads):
        return
    means, reach = np.array([s.mean for s in spreads]), np.array(widths, float)
    low, high = factor * np.clip(means - reach, *bounds), factor * np.clip(means + reach, *bounds)
    # One closed line, as unlike `fill_between` it is drawn where its vertices say.
    (band,) = ax.fill(
        [*xs, *reversed(xs)], [*low, *high[::-1]], color=style.colour, alpha=0.13, linewidth=0
    )
    band.set_gid(mark(*rows))


def draw_point(ax: Axes, x: float, y: float, style: Style, label: str, tip: str) -> None:
    """A row's marker at (x, y), with the tooltip's further lines."""
    (point,) = ax.plot(
        [x],
        [y],
        marker=style.marker,
        markersize=8 if style.marker == "*" else 5.5,
        markerfacecolor=style.colour if style.filled else SURFACE[0],
        markeredgecolor=SURFACE[0] if style.filled else style.colour,
        markeredgewidth=0.6 if style.filled else 1.2,
        linestyle="none",
        clip_on=False,
        zorder=4,
    )
    point.set_gid(mark(label, tip=f"{label}\n{tip}"))


def name_points(
    ax: Axes,
    points: Sequence[tuple[str, float, float]],
    styles: Mapping[str, Style],
    rows: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Names beside the axes at the right, moved apart, each tied to its (name, x, y) point.

    Args:
        rows: that each name stands for; by default it is the row's label.
    """
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    distance = 10.5 * (high - low) / height
    placed = spread_labels([y for _, _, y in points], distance, low, high)
    left, right = ax.get_xlim()
    for (label, x, y), label_y in zip(points, placed, strict=True):
        style = styles[label]
        tie = ax.annotate(
            label,
            xy=(x, y),
            xytext=(right + (right - left) * 0.03, label_y),
            color=style.colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": style.colour,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )
        named = mark(*(rows[label] if rows else [label]), name=label)
        tie.set_gid(named)
        if tie.arrow_patch is not None:
            tie.arrow_patch.set_gid(named)


def draw_heat_map(
    ax: Axes,
    values: np.ndarray,
    *,
    numbers: bool,
    borders: Sequence[int] = (),
) -> None:
    """A matrix as cells whose opacity is the value, 0 to 1 (or -1 to 1); NaN cells stay empty.

    Args:
        values: (rows, columns).
        numbers: write each value into its cell.
        borders: draw a line before these rows and columns, between experiences.
    """
    rows, columns = values.shape
    strength = np.nan_to_num(np.clip(np.abs(values), 0, 1))
    cells = np.zeros((rows, columns, 4), dtype=np.uint8)
    cells[..., :3] = np.where(np.nan_to_num(values)[..., None] < 0, NEGATIVE, POSITIVE)
    cells[..., 3] = np.round(255 * strength)
    ax.imshow(cells, interpolation="none", aspect="equal")
    ax.set_anchor("N")
    ax.grid(visible=False)
    ax.tick_params(length=0, pad=2)
    for side in ("top", "right", "bottom", "left"):
        ax.spines[side].set_visible(True)
    for border in borders:
        ax.axhline(border - 0.5, color=RULE[0], linewidth=0.6)
        ax.axvline(border - 0.5, color=RULE[0], linewidth=0.6)
    if not numbers:
        return
    size = 7.5 if columns <= 6 else 5
    for row, column in np.argwhere(~np.isnan(values)):
        strong = strength[row, column] > 0.55
        text = fixed(values[row, column], 2).replace("0.", ".", 1)
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color=ON_STRONG if strong else INK[0],
        )


def draw_dots(ax: Axes, xy: np.ndarray, colour: str, *, size: float = 2.6) -> None:
    """Many points of one colour as a single path: a tenth of the size of separate markers."""
    # A point is a stroke of no visible length with round ends. Agg draws nothing if the length is
    # exactly none, as snapping to pixels would make it.
    ends = xy + np.array([np.ptp(xy[:, 0]) * 1e-4 + 1e-6, 0.0])
    vertices = np.stack([xy, ends], axis=1).reshape(-1, 2)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(xy))
    outline = Outline(vertices, codes)
    # Simplification would take strokes this short for noise and drop them.
    outline.should_simplify = False
    dots = PathPatch(
        outline,
        facecolor="none",
        edgecolor=colour,
        linewidth=size,
        capstyle="round",
        alpha=0.65,
        snap=False,
    )
    ax.add_patch(dots)


def spread_labels(
    positions: Sequence[float],
    distance: float,
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Move positions apart until neighbours are at least `distance` apart, as little as can be.

    Overlapping labels are merged into blocks that stay centred on what they label, within `low`
    and `high` where there is room.
    """
    blocks: list[list[int]] = []

    def start(block: Sequence[int]) -> float:
        length = distance * (len(block) - 1)
        centred = float(np.mean([positions[index] for index in block])) - length / 2
        return max(low, min(centred, high - length))

    for index in np.argsort(positions, kind="stable"):
        blocks.append([int(index)])
        while len(blocks) > 1:
            upper, lower = blocks[-1], blocks[-2]
            if start(upper) - start(lower) >= distance * len(lower) - 1e-12:
                break
            blocks[-2:] = [lower + upper]
    placed = [0.0] * len(positions)
    for block in blocks:
        for rank, index in enumerate(block):
            placed[index] = start(block) + rank * distance
    return placed


def show_value(over_seeds: Spread) -> str:
    """`0.523 ± 0.004 (5 seeds)`."""
    number = fixed(over_seeds.mean, 3)
    if over_seeds.std is None:
        return f"{number} (1 seed)"
    return f"{number} ± {over_seeds.std:.3f} ({over_seeds.count} seeds)"


def _experience_axis(ax: Axes, experiences: int, joint: Sequence[str]) -> None:
    step = 1 if experiences <= 10 else -(-experiences // 10)
    ticks = list(range(1, experiences + 1, step))
    names = [str(tick) for tick in ticks]
    if joint:
        ticks, names = [*ticks, experiences + 1], [*names, "joint"]
    ax.set_xticks(ticks, names)
    if joint:
        ax.get_xticklabels()[-1].set_gid(mark(*joint))
    ax.set_xlim(0.75, experiences + (1.25 if joint else 0.25))
    ax.set_xlabel("experiences trained")
