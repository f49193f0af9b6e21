"""The geometry of the representations over the experiences trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from simo_cl.report.drawing import Line, draw_lines, follow_choice
from simo_cl.report.figures.captions import band_note
from simo_cl.report.figures.curves import experience_axis, lasts, stream_lines
from simo_cl.report.figures.figure import SPACES, Figure, Margins, Panel
from simo_cl.results import Suite

# Each with its name, and the least and the greatest value that there can be.
GEOMETRY = {
    "orthogonality/mean_abs_cos": ("mean |cos| of class means", (0, 1)),
    "orthogonality/coherence": ("largest |cos| of class means", (0, 1)),
    "neighbourhood/ratio": ("distance within / between classes", (0, math.inf)),
    "neighbourhood/knn_purity": ("10-nearest-neighbour purity", (0, 1)),
    "collapse/effective_rank": ("effective rank", (1, math.inf)),
    "drift/class_mean": ("drift of old class means", (0, 2)),
}


def geometry_curves(suite: Suite, space: str) -> Figure:
    """The main geometry metrics of one space, a panel each."""
    panels = []
    shown: set[str] = set()
    for index, (metric, (title, bounds)) in enumerate(GEOMETRY.items()):
        lines = stream_lines(suite, f"{space}/{metric}")
        if lines:
            shown |= {line.name for line in lines}
            draw = partial(_draw, lines=lines, experiences=suite.num_experiences, bounds=bounds)
            alternative = f"{title}, last: {lasts(lines)}"
            panels.append(Panel(str(index), title, alternative, draw))
    return Figure(
        name=f"geometry_{space}",
        section="geometry",
        space=space,
        title=f"Geometry: {SPACES[space]}",
        caption=f"Geometry of the {SPACES[space]} of the classes seen so far, on unit-norm test "
        "samples." + band_note(suite),
        panels=tuple(panels),
        size=(2.7, 1.75),
        margins=Margins(left=0.42, right=0.12, bottom=0.44, top=0.3),
        legend=tuple(label for label in suite.finished_labels if label in shown),
    )


def _draw(ax: Axes, lines: Sequence[Line], experiences: int, bounds: tuple[float, float]) -> None:
    draw_lines(ax, lines, bounds)
    experience_axis(ax, experiences, lines)
    follow_choice(ax.yaxis, bounds)
