"""What a figure is, and the sheet that its files show.

A figure is a list of panels of one size. A sheet has them in a grid with a legend; the page lays
the panels out itself, to fit a desk or a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D
from threadpoolctl import threadpool_limits

from simo_cl.report.drawing import STYLE, look, shaded
from simo_cl.results import Suite
from simo_cl.results.styles import Style, styles

Section = Literal[
    "result", "statistics", "stream", "matrices", "geometry", "embeddings", "loss", "sweeps", "cost"
]
SPACES = {
    "features": "encoder features",
    "features_centred": "encoder features, centred",
    "embedding": "loss space",
    "embedding_centred": "loss space, centred",
}
POINTS_AN_INCH = 72

Box = tuple[float, ...]
"""Left, top, width and height of a part of a sheet, in points from its upper left corner."""


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

    @property
    def gid(self) -> str:
        """Of its axes in a drawing."""
        return f"panel:{self.key}"


class Margins(NamedTuple):
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
        section: of the page, in which figures stand in the order of `FIGURES`.
        space: of representations that it is about, a key of `SPACES`; empty for other figures.
        size: of a panel's axes, width and height in inches.
        legend: rows to explain in a legend; empty where the panels name what they show.
        colours: names of what the colours of dots mean, if not rows.
        scale: "share" or "signed" for heat maps, whose shades need a key; "" for others.
        columns: panels side by side in a file; 0 for as many as fit.
        own: whether a file of the user's has registered it.
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
    own: bool = False

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a panel with its margins, in inches."""
        left, right, bottom, top = self.margins
        return left + self.size[0] + right, bottom + self.size[1] + top


def draw_figure(suite: Suite, figure: Figure) -> Canvas:
    """A figure as matplotlib's, in the report's style."""
    with drawing_style():
        return draw_sheet(figure, styles(suite))[0]


@contextmanager
def drawing_style() -> Iterator[None]:
    """Of everything that is drawn; on one thread: the same picture on every machine, and threads of
    so little work spend their time waiting for each other."""
    installed = {font.name for font in fontManager.ttflist}
    # Names that there are not would be looked for with every text.
    fonts = [name for name in STYLE["font.sans-serif"] if name in installed]
    with matplotlib.rc_context({**STYLE, "font.sans-serif": fonts}), threadpool_limits(1):
        yield


def draw_sheet(figure: Figure, drawn_as: Mapping[str, Style]) -> tuple[Canvas, dict[str, Box]]:
    """All panels in a grid, with a legend or a key of shades below; and the place of each panel."""
    width, height = figure.cell
    columns, rows = _grid(figure)
    handles = _legend(figure, drawn_as)
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    per_line = max(1, int(columns * width / max(1.35, 0.55 + 0.07 * longest)))
    lines = math.ceil(len(handles) / per_line)
    foot = 0.22 * lines + 0.1 if handles else 0.42 if figure.scale else 0.0
    across, up = columns * width, rows * height + foot
    canvas = Canvas(figsize=(across, up))
    places = {}
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, columns)
        left = (column * width + figure.margins.left) / across
        bottom = (up - (row + 1) * height + figure.margins.bottom) / up
        axes = canvas.add_axes((left, bottom, figure.size[0] / across, figure.size[1] / up))
        axes.set_gid(panel.gid)
        _fill(axes, panel, room=width - figure.margins.left)
        inches = np.array([column * width, row * height, width, height])
        places[panel.key] = tuple((POINTS_AN_INCH * inches).tolist())
    if handles:
        canvas.legend(
            handles=handles, loc="lower center", ncols=per_line, frameon=False, fontsize=8
        )
    if figure.scale:
        axes = canvas.add_axes((0.5 - 0.8 / across, 0.24 / up, 1.6 / across, 0.1 / up))
        _draw_scale(axes, signed=figure.scale == "signed")
    return canvas, places


def _grid(figure: Figure) -> tuple[int, int]:
    """Columns, as many as fit or few enough that the last row is as full as can be, and rows."""
    count = len(figure.panels)
    columns = figure.columns or min(count, max(1, int(12.5 / figure.cell[0])))
    rows = math.ceil(count / columns)
    return figure.columns or math.ceil(count / rows), rows


def _fill(axes: Axes, panel: Panel, room: float) -> None:
    """Draws a panel with its title, for which there are so many inches."""
    try:
        panel.draw(axes)
    except Exception as error:  # one panel is never worth the page
        axes.clear()
        axes.set_axis_off()
        reason = "\n".join(wrap(f"not drawn: {type(error).__name__}: {error}", 30))
        axes.text(0.5, 0.5, reason, ha="center", va="center", transform=axes.transAxes)
    # Bold sans-serif letters are about 0.66 of their height wide.
    fitting = POINTS_AN_INCH * room / max(1.0, 0.66 * len(panel.title))
    axes.set_title(panel.title, fontsize=max(5.0, min(STYLE["axes.titlesize"], fitting)))


def _legend(figure: Figure, drawn_as: Mapping[str, Style]) -> list[Line2D]:
    rows = {label: drawn_as[label] for label in figure.legend}
    return [
        *(
            Line2D([], [], color=style.colour, linestyle=style.dashes, label=label, **look(style))
            for label, style in rows.items()
        ),
        *(
            Line2D([], [], color=colour, linestyle="none", marker="o", label=name)
            for name, colour in figure.colours.items()
        ),
    ]


def _draw_scale(axes: Axes, *, signed: bool) -> None:
    low = -1.0 if signed else 0.0
    cells = shaded(np.linspace(low, 1, 101)[None])
    axes.imshow(cells, aspect="auto", extent=(low, 1, 0, 1), interpolation="none")
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1] if signed else [0, 0.5, 1])
