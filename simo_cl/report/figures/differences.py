"""Every row against every other, paired by seed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import ON_STRONG, draw_heat_map
from simo_cl.report.figures.embeddings import shown_note, shown_rows
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.statistics import ALPHA, Comparison, compare_all_pairs
from simo_cl.report.tables import show_signed
from simo_cl.report.wording import count
from simo_cl.results import Suite
from simo_cl.results.styles import INK, MUTED

MOST_ROWS = 14
CELL = 0.56


def paired_differences(suite: Suite) -> Figure | None:
    """A matrix of the differences between rows with their intervals; None without any interval."""
    labels = shown_rows(suite, suite.streamed_labels, MOST_ROWS)
    tested = [c for c in compare_all_pairs(suite, suite.streamed_labels) if c.low is not None]
    pairs = [c for c in tested if c.label in labels and c.control in labels]
    if not pairs:
        return None
    place = {label: index for index, label in enumerate(labels)}
    values = np.full((len(labels), len(labels)), np.nan)
    for c in pairs:
        values[place[c.label], place[c.control]] = c.difference
        values[place[c.control], place[c.label]] = -(c.difference or 0.0)
    told_apart = {
        (place[c.label], place[c.control]) for c in pairs if c.verdict in ("above", "below")
    }
    shade = np.full_like(values, np.nan)
    for row, column in told_apart:
        shade[row, column], shade[column, row] = values[row, column], values[column, row]
    strongest = np.nanmax(np.abs(shade)) if told_apart else 1.0

    def draw(ax: Axes) -> None:
        draw_heat_map(ax, 0.85 * shade / strongest, numbers=False)
        for c in pairs:
            row, column = place[c.label], place[c.control]
            strong = abs(shade[row, column]) > 0.6 * strongest
            _write(ax, row, column, c, strong=strong)
            _write(ax, column, row, _turned(c), strong=strong)
        ax.set_xticks(range(len(labels)), labels, fontsize=7)
        for name in ax.get_xticklabels():
            name.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
        ax.set_yticks(range(len(labels)), labels, fontsize=7)

    room = 0.2 + 0.062 * max(map(len, labels))
    cells = [[None if np.isnan(v) else round(float(v), 3) for v in line] for line in values]
    return Figure(
        name="paired_differences",
        section="result",
        title="Every strategy against every other",
        caption="Average accuracy of the row minus that of the column: mean over shared seeds and "
        "95 % paired t interval, which stands for its cell alone. Shaded where the test tells "
        f"the two apart after Holm's correction over all {count(len(tested), 'pair')} "
        f"(p < {ALPHA:.2g}). An empty cell: no test is defined."
        + shown_note(
            labels,
            suite.streamed_labels,
            "tables/paired_differences.csv has the others",
        ),
        panels=(
            Panel(
                "0",
                "",
                "Paired differences in average accuracy: "
                + "; ".join(f"{c.label} minus {c.control} {_show(c)}" for c in pairs),
                draw,
                matrix=tuple(map(tuple, cells)),
                rows=tuple(labels),
                columns=tuple(f"minus {label}" for label in labels),
            ),
        ),
        size=(CELL * len(labels), CELL * len(labels)),
        margins=Margins(left=room, right=0.1, bottom=room, top=0.1),
    )


def _turned(c: Comparison) -> Comparison:
    """The same comparison, seen from the other row."""
    if c.difference is None or c.low is None or c.high is None:
        return c
    return Comparison(
        c.control, c.label, c.seeds, difference=-c.difference, low=-c.high, high=-c.low
    )


def _write(ax: Axes, row: int, column: int, c: Comparison, *, strong: bool) -> None:
    if c.difference is None or c.low is None or c.high is None:
        return
    colours = (ON_STRONG, ON_STRONG) if strong else (INK[0], MUTED[0])
    interval = f"[{_short(c.low)}, {_short(c.high)}]"
    lines = ((_short(c.difference), -0.13, 7.5), (interval, 0.22, 4.6))
    for (text, below, size), colour in zip(lines, colours, strict=True):
        ax.text(column, row + below, text, fontsize=size, color=colour, ha="center", va="center")


def _short(value: float) -> str:
    return show_signed(value).replace("0.", ".", 1)


def _show(c: Comparison) -> str:
    ends = [show_signed(value) for value in (c.difference, c.low, c.high) if value is not None]
    return f"{ends[0]} [{ends[1]}, {ends[2]}]"
