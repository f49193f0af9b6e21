"""Heat maps: of accuracies and of confusions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_heat_map
from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.classes import class_name, class_sizes, learning_order
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.tables import file_label, mean_array
from simo_cl.report.wording import fixed
from simo_cl.results import Suite


def accuracy_matrices(suite: Suite) -> Figure:
    """Accuracy on every experience after each, a panel a row."""
    panels = []
    for label in suite.finished_labels:
        matrix = mean_array(suite, label, "accuracy/own")
        if matrix is None:
            continue
        matrix = matrix.copy()
        joint = len(matrix) == 1
        if not joint:
            matrix[np.triu_indices(len(matrix), 1, matrix.shape[1])] = np.nan
        names = tuple(f"experience {i + 1}" for i in range(matrix.shape[1]))
        after = ("after all at once",) if joint else tuple(f"after {name}" for name in names)
        panels.append(
            matrix_panel(
                label,
                matrix,
                rows=after,
                columns=tuple(f"on {name}" for name in names),
                alternative=f"Accuracy matrix of {label}: last row "
                + ", ".join(fixed(value, 2) for value in matrix[-1]),
                ticks=[str(i + 1) for i in range(matrix.shape[1])],
                row_ticks=["all"] if joint else None,
                numbers=matrix.shape[1] <= 10,
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
        counts = mean_array(suite, label, "confusion")
        if counts is None:
            continue
        totals = counts[-1].sum(axis=1, keepdims=True)
        share = np.divide(
            counts[-1], totals, out=np.full_like(counts[-1], np.nan), where=totals > 0
        )
        panels.append(class_panel(suite, label, share, row="true {}", column="named {}"))
    return Figure(
        name="confusion",
        section="matrices",
        title="Confusion after the last experience",
        caption="Row: the true class. Column: the class named. Classes stand in the order in "
        "which they were learnt, with a line between experiences; shade in the last columns is a "
        "bias towards what was learnt last." + mean_note(suite),
        panels=tuple(panels),
        **class_sizes(suite),
        scale="share",
    )


def class_panel(
    suite: Suite,
    label: str,
    values: np.ndarray,
    *,
    row: str = "{}",
    column: str = "and {}",
    step: int | None = None,
    note: str = "",
) -> Panel:
    """A matrix (C, C) over classes, in the order in which they were learnt where all seeds agree.

    Args:
        row, column: what a row and a column are in tooltips, with {} for the class.
        step: the experience after which it was measured, if the figure has several.
        note: stands below the matrix.
    """
    order, borders = learning_order(suite, label, len(values))
    names = [class_name(suite, c) for c in order]
    values = values[np.ix_(order, order)]
    few = len(order) <= 12
    diagonal, others = np.diag(values), values[~np.eye(len(values), dtype=bool)]
    words = [f"mean of the diagonal {fixed(float(np.nanmean(diagonal)), 2)}"]
    if not np.isnan(others).all():
        words.append(f"largest value off it {np.nanmax(np.abs(others)):.2f}")
    when = "" if step is None else f", after experience {step + 1}"
    return matrix_panel(
        label,
        values,
        rows=tuple(row.format(name) for name in names),
        columns=tuple(column.format(name) for name in names),
        alternative=f"{label}{when}: " + ", ".join([*words, note] if note else words),
        ticks=[name[:10] for name in names] if few else None,
        numbers=False,
        borders=borders,
        axis_names=(note, ""),
        step=step,
    )


def matrix_panel(
    label: str,
    values: np.ndarray,
    *,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    alternative: str,
    ticks: Sequence[str] | None,
    numbers: bool,
    row_ticks: Sequence[str] | None = None,
    tick_places: Sequence[float] | None = None,
    borders: Sequence[int] = (),
    axis_names: tuple[str, str] = ("", ""),
    step: int | None = None,
) -> Panel:
    """A heat map of one row's values; NaN cells stay empty.

    Args:
        rows, columns: names for tooltips, which matrices of more than 20 columns do not have.
        ticks: names at the sides; `row_ticks` if those of the rows differ. They stand at
            `tick_places`, or at every row and column.
        numbers: write each value into its cell.
        borders: draw a line before these rows and columns.
    """

    def draw(ax: Axes) -> None:
        draw_heat_map(ax, values, numbers=numbers, borders=borders)
        across, down = list(ticks or []), list(row_ticks or ticks or [])
        ax.set_xticks(tick_places or range(len(across)), across, fontsize=6.5)
        if any(len(name) > 2 for name in across):
            # Anchored at their end, so that they fit whatever font the page falls back to.
            for name in ax.get_xticklabels():
                name.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
        ax.set_yticks(tick_places or range(len(down)), down, fontsize=6.5)
        ax.set_xlabel(axis_names[0], fontsize=7.5)
        ax.set_ylabel(axis_names[1], fontsize=7.5)

    few = values.shape[1] <= 20
    cells = [[None if np.isnan(v) else round(float(v), 3) for v in row] for row in values if few]
    return Panel(
        key=file_label(label) + ("" if step is None else f"-{step}"),
        title=label if step is None else f"{label} · after exp. {step + 1}",
        alternative=alternative,
        draw=draw,
        label=label,
        step=step,
        matrix=tuple(tuple(row) for row in cells) if few else None,
        rows=rows if few else (),
        columns=columns if few else (),
    )
