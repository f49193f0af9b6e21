"""Heat maps: of accuracies and of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation, Transform

from simo_cl.report.drawing import draw_heat_map
from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.classes import (
    ClassMatrices,
    class_matrices,
    class_sizes,
    order_note,
)
from simo_cl.report.figures.curves import experience_ticks
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.tables import file_label, mean_array
from simo_cl.report.wording import fixed
from simo_cl.results import Suite
from simo_cl.results.styles import MUTED

MOST_COLUMNS_WITH_TOOLTIPS = 20


def accuracy_matrices(suite: Suite) -> Figure:
    """Accuracy on every experience after each, a panel a row."""
    panels = []
    for label in suite.finished_labels:
        matrix = mean_array(suite, label, "accuracy/own")
        if matrix is None:
            continue
        joint, count = len(matrix) == 1, matrix.shape[1]
        if not joint:
            matrix = np.where(np.tri(*matrix.shape), matrix, np.nan)
        names = [f"experience {i + 1}" for i in range(count)]
        named = experience_ticks(count)
        ticks = [str(i + 1) if i + 1 in named else "" for i in range(count)]
        last = ", ".join(fixed(value, 2) for value in matrix[-1])
        panels.append(
            matrix_panel(
                label,
                matrix,
                f"Accuracy matrix of {label}: last row {last}",
                rows=["after all at once"] if joint else [f"after {name}" for name in names],
                columns=[f"on {name}" for name in names],
                ticks=ticks,
                row_ticks=["all"] if joint else ticks,
                numbers=count <= 10,
                axis_names=("tested on experience", "" if joint else "after training on"),
            )
        )
    return Figure(
        name="accuracy_matrices",
        section="matrices",
        title="Accuracy matrices",
        caption="Row: the experience just trained. Column: the experience tested. A column that "
        "fades downwards is being forgotten." + mean_note(suite),
        panels=tuple(panels),
        size=(1.75, 1.75),
        margins=Margins(left=0.42, right=0.08, bottom=0.42, top=0.28),
        scale="share",
    )


def confusion(suite: Suite) -> Figure:
    """Shares of every class's samples by the class named, after the last experience."""
    panels = []
    for label in suite.finished_labels:
        found = class_matrices(suite, label, "confusion")
        if found is not None:
            totals = found.values.sum(axis=-1, keepdims=True)
            shares = replace(found, values=found.values / np.where(totals > 0, totals, np.nan))
            panels.append(class_panel(label, shares, row="true {}", column="named {}"))
    return Figure(
        name="confusion",
        section="matrices",
        title="Confusion after the last experience",
        caption="Row: the true class. Column: the class named. Classes stand in the order in "
        "which they were learnt, with a line between experiences; shade in the last columns is a "
        "bias towards what was learnt last." + order_note(suite) + mean_note(suite),
        panels=tuple(panels),
        **class_sizes(suite),
        scale="share",
    )


def class_panel(
    label: str,
    classes: ClassMatrices,
    *,
    row: str = "{}",
    column: str = "and {}",
    step: int | None = None,
    note: str = "",
) -> Panel:
    """One of a row's matrices over pairs of classes.

    Args:
        row, column: what a row and a column are in tooltips, with {} for the class.
        step: the experience after which it was measured, if the figure has several; else the last.
        note: stands below the matrix.
    """
    values = classes.values[-1 if step is None else step]
    others = values[~np.eye(len(values), dtype=bool)]
    when = "" if step is None else f", after experience {step + 1}"
    diagonal = np.diag(values)
    words = []
    if not np.isnan(diagonal).all():
        words.append(f"mean of the diagonal {fixed(float(np.nanmean(diagonal)), 2)}")
    if not np.isnan(others).all():
        words.append(f"largest value off it {np.nanmax(np.abs(others)):.2f}")
    words += [note] if note else []
    return matrix_panel(
        label,
        values,
        f"{label}{when}: {', '.join(words) or 'no values'}",
        step=step,
        rows=[row.format(name) for name in classes.names],
        columns=[column.format(name) for name in classes.names],
        ticks=classes.ticks,
        borders=classes.borders,
        axis_names=(note, ""),
    )


def matrix_panel(
    label: str,
    values: np.ndarray,
    alternative: str,
    *,
    step: int | None = None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    **drawn: Any,
) -> Panel:
    """A heat map of one row's values; NaN cells stay empty.

    Args:
        rows, columns: names for tooltips, which large matrices do not have.
        drawn: what `draw_matrix` takes.
    """
    after = "" if step is None else f" · after exp. {step + 1}"
    panel = Panel(
        key=file_label(label) + ("" if step is None else f"-{step}"),
        title=label + after,
        alternative=alternative,
        draw=partial(draw_matrix, values=values, **drawn),
        label=label,
        step=step,
    )
    return with_tooltips(panel, values, rows, columns) if rows else panel


def with_tooltips(
    panel: Panel, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> Panel:
    """A heat map's panel with what its cells say, if they are few enough to point at."""
    if values.shape[1] > MOST_COLUMNS_WITH_TOOLTIPS:
        return panel
    cells = [[None if np.isnan(v) else round(float(v), 3) for v in row] for row in values]
    return replace(panel, matrix=tuple(map(tuple, cells)), rows=tuple(rows), columns=tuple(columns))


def draw_matrix(
    ax: Axes,
    values: np.ndarray,
    *,
    ticks: Sequence[str] = (),
    row_ticks: Sequence[str] | None = None,
    places: Sequence[float] = (),
    numbers: bool = False,
    borders: Sequence[int] = (),
    axis_names: tuple[str, str] = ("", ""),
) -> None:
    """A heat map with names at its sides.

    Args:
        ticks: the names; `row_ticks` if those of the rows differ. They stand at `places`, or at
            every row and column.
        numbers: write each value into its cell.
        borders: draw a line before these rows and columns.
    """
    draw_heat_map(ax, values, numbers=numbers, borders=borders)
    down = ticks if row_ticks is None else row_ticks
    name_sides(ax, ticks, down, places, axis_names)


def name_sides(
    ax: Axes,
    across: Sequence[str],
    down: Sequence[str],
    places: Sequence[float] = (),
    axis_names: tuple[str, str] = ("", ""),
    size: float = 6.5,
) -> None:
    """Names of columns and rows, and of what both are.

    Texts alone: matplotlib's ticks, which are more, take as long as all the rest of a heat map.
    """
    ax.xaxis.set_visible(False)
    ax.yaxis.set_visible(False)
    turned = any(len(name) > 2 for name in across)
    beside = {"ha": "right", "va": "center"}
    below = {"ha": "center", "va": "top"}
    # Anchored at their end, upright ones fit whatever font the page falls back to.
    under = {"rotation": 90, "rotation_mode": "anchor"} | beside if turned else below

    figure = ax.get_figure(root=True)
    assert figure is not None

    def write(
        text: str, x: float, y: float, system: Transform, inches: tuple[float, float]
    ) -> Text:
        away = ScaledTranslation(*inches, figure.dpi_scale_trans)
        return ax.text(x, y, text, color=MUTED[0], transform=system + away, fontsize=size)

    for place, name in zip(places or range(len(across)), across, strict=True):
        write(name, place, 0, ax.get_xaxis_transform(), (0, -0.03)).set(**under)
    for place, name in zip(places or range(len(down)), down, strict=True):
        write(name, 0, place, ax.get_yaxis_transform(), (-0.03, 0)).set(**beside)
    longest = [0.06 + 0.062 * max(map(len, names), default=0) for names in (across, down)]
    depth = longest[0] if turned else 0.16
    write(axis_names[0], 0.5, 0, ax.transAxes, (0, -depth)).set(fontsize=7.5, **below)
    write(axis_names[1], 0, 0.5, ax.transAxes, (-longest[1], 0)).set(
        fontsize=7.5, rotation=90, **beside
    )
