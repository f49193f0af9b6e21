"""Every row against every other, paired by seed."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.cells import difference_cell
from simo_cl.report.drawing import draw_heat_map, short, write_in_cell
from simo_cl.report.figures.embeddings import shown_note, shown_rows
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.figures.matrices import name_sides, with_tooltips
from simo_cl.report.statistics import ALPHA, compare_all_pairs
from simo_cl.report.wording import show_signed
from simo_cl.results import Suite
from simo_cl.wording import count

MOST_ROWS = 14
CELL = 0.56


def paired_differences(suite: Suite) -> Figure | None:
    """A matrix of the differences between rows with their intervals; None without any interval."""
    labels = shown_rows(suite, suite.streamed_labels, MOST_ROWS)
    tested = [c for c in compare_all_pairs(suite, suite.streamed_labels) if c.low is not None]
    pairs = [c for c in tested if c.label in labels and c.control in labels]
    if not pairs:
        return None
    # Difference, and the ends of its interval.
    values = np.full((len(labels), len(labels), 3), np.nan)
    shade = np.full((len(labels), len(labels)), np.nan)
    for c in pairs:
        at = labels.index(c.label), labels.index(c.control)
        values[at] = c.difference, c.low, c.high
        values[at[::-1]] = -values[at][[0, 2, 1]]
        if c.verdict in ("above", "below"):
            shade[at], shade[at[::-1]] = values[at][0], values[at[::-1]][0]
    said = [f"{c.label} minus {c.control} {difference_cell(c)}" for c in pairs]
    panel = Panel(
        "0",
        "",
        "Paired differences in average accuracy: " + "; ".join(said),
        partial(_draw, labels=labels, values=values, shade=shade),
    )
    room = 0.2 + 0.062 * max(map(len, labels))
    return Figure(
        name="paired_differences",
        section="result",
        title="Every strategy against every other",
        caption="Average accuracy of the row minus that of the column: mean over shared seeds and "
        "95 % paired t interval, which stands for its cell alone. Shaded where the test tells "
        f"the two apart after Holm's correction over {'all ' if len(tested) > 1 else ''}"
        f"{count(len(tested), 'pair')} (p < {ALPHA:.2g}). An empty cell: no test is defined."
        + shown_note(labels, suite.streamed_labels, "tables/paired_differences.csv has the others"),
        panels=(
            with_tooltips(panel, values[..., 0], labels, [f"minus {label}" for label in labels]),
        ),
        size=(CELL * len(labels), CELL * len(labels)),
        margins=Margins(left=room, right=0.1, bottom=room, top=0.1),
    )


def _draw(ax: Axes, labels: tuple[str, ...], values: np.ndarray, shade: np.ndarray) -> None:
    cells = 0.85 * shade / (1.0 if np.isnan(shade).all() else np.nanmax(np.abs(shade)))
    draw_heat_map(ax, cells, numbers=False)
    for row, column in np.argwhere(~np.isnan(values[..., 0])):
        difference, low, high = (short(show_signed(value)) for value in values[row, column])
        write_in_cell(ax, row - 0.13, column, difference, 7.5, cells[row, column])
        write_in_cell(ax, row + 0.22, column, f"[{low}, {high}]", 4.6, cells[row, column])
    name_sides(ax, labels, labels, size=7)
