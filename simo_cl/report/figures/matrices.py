"""Heat maps: of accuracies, of confusions, and of pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_heat_map
from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.classes import class_name, class_sizes, learning_order
from simo_cl.report.figures.figure import SPACES, Figure, Margins, Panel
from simo_cl.report.load import Suite
from simo_cl.report.tables import file_label, mean_array


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
            _matrix_panel(
                label,
                matrix,
                rows=after,
                columns=tuple(f"on {name}" for name in names),
                alternative=f"Accuracy matrix of {label}: last row "
                + ", ".join(f"{value:.2f}" for value in matrix[-1]),
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
        panels.append(_class_panel(suite, label, share, "true {}", "named {}"))
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


def class_means(suite: Suite, space: str) -> Figure:
    """Cosines between class means after the last experience."""
    panels = _class_pair_panels(suite, f"class_mean_cos/{space}")
    return Figure(
        name=f"class_mean_cosines_{space}",
        section="geometry",
        space=space,
        title=f"Cosines between class means: {SPACES[space]}",
        caption="Cosine of the angle between the directions of two classes' means, after the last "
        "experience. Orthogonal classes leave everything but the diagonal empty."
        + mean_note(suite),
        panels=tuple(panels),
        **class_sizes(suite),
        scale="signed",
    )


def simo_similarity(suite: Suite, space: str) -> Figure:
    """SimO similarity of class means after the last experience."""
    panels = _class_pair_panels(suite, f"simo_similarity/{space}")
    return Figure(
        name=f"simo_similarity_{space}",
        section="geometry",
        space=space,
        title=f"SimO similarity of class means: {SPACES[space]}",
        caption="The similarity that the SimO loss sees between two classes' means, normalised to "
        "0 to 1, after the last experience." + mean_note(suite),
        panels=tuple(panels),
        **class_sizes(suite),
        scale="share",
    )


def _class_pair_panels(suite: Suite, name: str) -> list[Panel]:
    """A panel for each label that has the array: its last (C, C) matrix."""
    matrices = {label: mean_array(suite, label, name) for label in suite.finished_labels}
    return [
        _class_panel(suite, label, matrix[-1], "{}", "and {}")
        for label, matrix in matrices.items()
        if matrix is not None
    ]


def _class_panel(suite: Suite, label: str, values: np.ndarray, row: str, column: str) -> Panel:
    """A matrix over classes, in the order in which they were learnt where all seeds agree."""
    order, borders = learning_order(suite, label, len(values))
    names = [class_name(suite, c) for c in order]
    values = values[np.ix_(order, order)]
    few = len(order) <= 12
    diagonal, others = np.diag(values), values[~np.eye(len(values), dtype=bool)]
    return _matrix_panel(
        label,
        values,
        rows=tuple(row.format(name) for name in names),
        columns=tuple(column.format(name) for name in names),
        alternative=f"{label}: mean of the diagonal {np.nanmean(diagonal):.2f}, largest value "
        f"off it {np.nanmax(np.abs(others)):.2f}",
        ticks=[name[:10] for name in names] if few else None,
        numbers=False,
        borders=borders,
    )


def _matrix_panel(
    label: str,
    values: np.ndarray,
    *,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    alternative: str,
    ticks: Sequence[str] | None,
    numbers: bool,
    row_ticks: Sequence[str] | None = None,
    borders: Sequence[int] = (),
    axis_names: tuple[str, str] = ("", ""),
) -> Panel:
    def draw(ax: Axes) -> None:
        draw_heat_map(ax, values, numbers=numbers, borders=borders)
        across, down = list(ticks or []), list(row_ticks or ticks or [])
        ax.set_xticks(range(len(across)), across, fontsize=6.5)
        if any(len(name) > 2 for name in across):
            # Anchored at their end, so that they fit whatever font the page falls back to.
            for name in ax.get_xticklabels():
                name.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
        ax.set_yticks(range(len(down)), down, fontsize=6.5)
        ax.set_xlabel(axis_names[0], fontsize=7.5)
        ax.set_ylabel(axis_names[1], fontsize=7.5)

    few = values.shape[1] <= 20
    cells = [[None if np.isnan(v) else round(float(v), 3) for v in row] for row in values]
    return Panel(
        key=file_label(label),
        title=label,
        alternative=alternative,
        draw=draw,
        label=label,
        matrix=tuple(tuple(row) for row in cells) if few else None,
        rows=rows if few else (),
        columns=columns if few else (),
    )
