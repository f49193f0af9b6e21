"""What a figure is, its files, and its panels as SVG for the page.

A figure is a list of panels of one size. A file shows them in a grid with a legend; the page lays
the panels out itself, to fit a desk or a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Literal

import matplotlib
import numpy as np
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from simo_cl.report.drawing import NEGATIVE, POSITIVE, STYLE
from simo_cl.report.figures.drawn_before import DrawnBefore, Written, key_of
from simo_cl.report.svg import Cell, cut_panel, drawing_of, save_files
from simo_cl.results import Suite
from simo_cl.results.styles import SURFACE, Style, styles

Section = Literal[
    "result", "statistics", "stream", "matrices", "geometry", "embeddings", "loss", "sweeps", "cost"
]
SPACES = {
    "features": "encoder features",
    "features_centred": "encoder features, centred",
    "embedding": "loss space",
    "embedding_centred": "loss space, centred",
}
_POINTS_AN_INCH = 72
# A process imports for as long as a few take to draw.
_FIGURES_WORTH_A_PROCESS = 4


@dataclass(frozen=True)
class Panel:
    """One set of axes: `draw` fills them, `alternative` says in words what they show.

    Attributes:
        label: the row that the whole panel belongs to; empty where it shows several.
        step: the experience (0-based) after which it was measured, where a figure has a panel for
            each of several; None elsewhere.
        matrix: the values of a heat map, for tooltips; rows of equal length, None where empty.
        rows, columns: names of the matrix's rows and columns in its tooltips.
    """

    key: str
    title: str
    alternative: str
    draw: Callable[[Axes], None]
    label: str = ""
    step: int | None = None
    matrix: tuple[tuple[float | None, ...], ...] | None = None
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margins:
    """Room around the axes in inches."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True)
class Figure:
    """Panels of one kind with their caption.

    Attributes:
        name: the file's name without its ending.
        section: of the page, in which figures stand in the order that `suite_figures` gives.
        space: of representations that it is about, a key of `SPACES`; empty for other figures.
        size: of a panel's axes, width and height in inches.
        legend: rows to explain in a legend; empty where the panels name what they show.
        colours: names of what the colours of dots mean, if not rows.
        scale: "share" or "signed" for heat maps, whose shades need a key; "" for others.
        columns: panels side by side in a file; 0 for as many as fit.
    """

    name: str
    section: Section
    title: str
    caption: str
    panels: tuple[Panel, ...]
    size: tuple[float, float]
    margins: Margins
    legend: tuple[str, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    scale: str = ""
    space: str = ""
    columns: int = 0

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a panel with its margins, in inches."""
        return (
            self.margins.left + self.size[0] + self.margins.right,
            self.margins.bottom + self.size[1] + self.margins.top,
        )


def write_figures(
    suite: Suite, figures: Sequence[Figure], within: str = "figures", *, pdf: bool = False
) -> dict[str, Written]:
    """Write every figure that has changed as SVG and PNG, on all cores.

    Files of figures that an earlier report wrote and this one does not have go.

    Args:
        within: the folder, relative to the suite's.
        pdf: write PDF, too; one that was written before is kept up to date in any case.

    Returns:
        What was written, now or before, by the figure's name.
    """
    drawn_as = styles(suite)
    drawn = DrawnBefore(suite.folder / within)
    drawn.remove_all_but([figure.name for figure in figures])
    keys = {figure.name: key_of(figure, drawn_as) for figure in figures}
    as_pdf = {name: pdf or drawn.has_pdf(name) for name in keys}
    written = {
        name: kept
        for name, key in keys.items()
        if (kept := drawn.kept(name, key, pdf=as_pdf[name]))
    }
    # Those with the most panels first, so that no core waits for one that began last.
    changed = sorted((f for f in figures if f.name not in written), key=lambda f: -len(f.panels))
    processes = max(1, min(len(changed) // _FIGURES_WORTH_A_PROCESS, cpu_count()))
    try:
        results = Parallel(n_jobs=processes, batch_size=1)(
            delayed(_write)(figure, drawn_as, drawn, keys[figure.name], as_pdf[figure.name])
            for figure in changed
        )
    finally:
        if processes > 1:
            # Otherwise they stay for minutes, with all that drawing imports.
            get_reusable_executor().shutdown(wait=True)
    return written | {f.name: of_it for f, of_it in zip(changed, results, strict=True)}


def draw_figure(suite: Suite, figure: Figure) -> Canvas:
    """A figure as matplotlib's, in the report's style."""
    with matplotlib.rc_context(STYLE):
        return _sheet(figure, styles(suite))[0]


def _write(
    figure: Figure, drawn_as: Mapping[str, Style], drawn: DrawnBefore, key: str, pdf: bool
) -> Written:
    with matplotlib.rc_context(STYLE):
        sheet, cells = _sheet(figure, drawn_as)
        drawing = drawing_of(sheet)
        drawn.forget(figure.name)
        files = save_files(sheet, drawing, drawn.folder / figure.name, pdf=pdf)
    panels = {
        panel.key: cut_panel(
            drawing, _gid(panel), cell, f"{figure.name}-{panel.key}", panel.alternative
        )
        for panel, cell in zip(figure.panels, cells, strict=True)
    }
    written = Written(files, panels)
    drawn.keep(figure.name, key, written)
    return written


def _sheet(figure: Figure, drawn_as: Mapping[str, Style]) -> tuple[Canvas, list[Cell]]:
    """All panels in a grid, with a legend or a key of shades below; and where each panel is."""
    width, height = figure.cell
    columns = figure.columns or min(len(figure.panels), max(1, int(12.5 / width)))
    rows = math.ceil(len(figure.panels) / columns)
    if not figure.columns:
        columns = math.ceil(len(figure.panels) / rows)
    handles = _legend_handles(figure, drawn_as)
    per_line = max(1, int(columns * width / 1.35))
    lines = math.ceil(len(handles) / per_line)
    foot = 0.22 * lines + 0.1 if handles else 0.42 if figure.scale else 0.0
    total = (columns * width, rows * height + foot)
    canvas = Canvas(figsize=total)
    cells = []
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, columns)
        _draw(canvas, figure, panel, left=column * width, bottom=total[1] - (row + 1) * height)
        cells.append(
            Cell(*(_POINTS_AN_INCH * x for x in (column * width, row * height, width, height)))
        )
    if handles:
        canvas.legend(
            handles=handles, loc="lower center", ncols=per_line, frameon=False, fontsize=8
        )
    if figure.scale:
        _draw_scale(canvas, figure.scale)
    return canvas, cells


def _gid(panel: Panel) -> str:
    return f"panel:{panel.key}"


def _draw(canvas: Canvas, figure: Figure, panel: Panel, *, left: float, bottom: float) -> None:
    across, up = canvas.get_size_inches()
    axes = canvas.add_axes(
        (
            (left + figure.margins.left) / across,
            (bottom + figure.margins.bottom) / up,
            figure.size[0] / across,
            figure.size[1] / up,
        )
    )
    axes.set_gid(_gid(panel))
    try:
        panel.draw(axes)
    except Exception as error:  # one panel is never worth the page
        axes.clear()
        axes.set_axis_off()
        reason = "\n".join(wrap(f"not drawn: {type(error).__name__}: {error}", 30))
        axes.text(0.5, 0.5, reason, ha="center", va="center", transform=axes.transAxes)
    # Bold sans-serif letters are about 0.66 of their height wide.
    room = (
        _POINTS_AN_INCH * (figure.cell[0] - figure.margins.left) / max(1.0, 0.66 * len(panel.title))
    )
    axes.set_title(panel.title, fontsize=max(5.0, min(STYLE["axes.titlesize"], room)))


def _legend_handles(figure: Figure, drawn_as: Mapping[str, Style]) -> list[Line2D]:
    handles = []
    for label in figure.legend:
        style = drawn_as[label]
        handles.append(
            Line2D(
                [],
                [],
                color=style.colour,
                linestyle=style.dashes,
                marker=style.marker,
                markersize=5.5,
                markerfacecolor=style.colour if style.filled else SURFACE[0],
                label=label,
            )
        )
    for name, colour in figure.colours.items():
        handles.append(Line2D([], [], color=colour, linestyle="none", marker="o", label=name))
    return handles


def _draw_scale(canvas: Canvas, scale: str) -> None:
    across, up = canvas.get_size_inches()
    axes = canvas.add_axes((0.5 - 0.8 / across, 0.24 / up, 1.6 / across, 0.1 / up))
    low = -1.0 if scale == "signed" else 0.0
    values = np.linspace(low, 1, 101)
    cells = np.zeros((1, 101, 4), dtype=np.uint8)
    cells[..., :3] = np.where(values[None, :, None] < 0, NEGATIVE, POSITIVE)
    cells[..., 3] = np.round(255 * np.abs(values))
    axes.imshow(cells, aspect="auto", extent=(low, 1, 0, 1), interpolation="none")
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1] if scale == "signed" else [0, 0.5, 1])
