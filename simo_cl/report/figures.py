"""The figures of a suite: files for a paper, and panels for the page.

A figure is a list of panels of one size. A file shows them in a grid with a legend; the page lays
the panels out itself, to fit a desk or a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE

from simo_cl.report.drawing import (
    NEGATIVE,
    POSITIVE,
    STYLE,
    Curve,
    draw_curves,
    draw_dots,
    draw_heat_map,
    draw_point,
    name_points,
    show_value,
)
from simo_cl.report.load import Suite
from simo_cl.report.palette import GREY, HUES, MUTED, RULE, SURFACE, Look, looks
from simo_cl.report.statistics import Comparison, seed_curve, seed_spread
from simo_cl.report.svg import inline_svg, save_files
from simo_cl.report.tables import file_label, mean_array

SPACES = {
    "features": "encoder features",
    "features_centred": "encoder features, centred",
    "embedding": "loss space",
    "embedding_centred": "loss space, centred",
}
GEOMETRY = {
    "orthogonality/mean_abs_cos": "mean |cos| of class means",
    "orthogonality/coherence": "largest |cos| of class means",
    "neighbourhood/ratio": "distance within / between classes",
    "neighbourhood/knn_purity": "10-nearest-neighbour purity",
    "collapse/effective_rank": "effective rank",
    "drift/class_mean": "drift of old class means",
}
TSNE_SAMPLES = 500
WIDE = (3.6, 2.9)


@dataclass(frozen=True)
class Panel:
    """One set of axes: `draw` fills them, `alternative` says in words what they show.

    Attributes:
        label: the row that the whole panel belongs to; empty where it shows several.
        matrix: the values of a heat map, for tooltips; rows of equal length, None where empty.
        rows, columns: names of the matrix's rows and columns in its tooltips.
    """

    key: str
    title: str
    alternative: str
    draw: Callable[[Axes], None]
    label: str = ""
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
        size: of a panel's axes, width and height in inches.
        legend: rows to explain in a legend; empty where the panels name what they show.
        colours: names of what the colours of dots mean, if not rows.
        scale: "share" or "signed" for heat maps, whose shades need a key; "" for others.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    size: tuple[float, float]
    margins: Margins
    legend: tuple[str, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    scale: str = ""

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a panel with its margins, in inches."""
        return (
            self.margins.left + self.size[0] + self.margins.right,
            self.margins.bottom + self.size[1] + self.margins.top,
        )


def suite_figures(suite: Suite, comparisons: Sequence[Comparison]) -> list[Figure]:
    """Every figure that the finished runs have the numbers for."""
    drawn_as = looks(suite)
    makers = (
        _comparison(suite, comparisons, drawn_as),
        _accuracy(suite, drawn_as),
        _forgetting(suite, drawn_as),
        _accuracy_matrices(suite),
        _confusion(suite),
        *(_geometry(suite, drawn_as, space) for space in SPACES),
        *(_class_means(suite, space) for space in SPACES),
        *(_simo_similarity(suite, space) for space in ("features", "embedding")),
        _time(suite, drawn_as),
        _plasticity(suite, drawn_as),
        _tsne(suite),
    )
    return [figure for figure in makers if figure is not None and figure.panels]


def write_figures(suite: Suite, figures: Sequence[Figure]) -> list[Path]:
    """Write every figure as SVG and PNG into figures/; files of earlier reports go."""
    folder = suite.folder / "figures"
    folder.mkdir(exist_ok=True)
    for stale in (*folder.glob("*.svg"), *folder.glob("*.png")):
        stale.unlink()
    drawn_as = looks(suite)
    paths = []
    for figure in figures:
        with matplotlib.rc_context(STYLE):
            paths += save_files(_sheet(figure, drawn_as), folder / figure.name)
    return paths


def panel_svg(figure: Figure, panel: Panel) -> str:
    """One panel as an `<svg>` element for the page."""
    width, height = figure.cell
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(width, height))
        _draw(canvas, figure, panel, left=0, bottom=0)
        return inline_svg(canvas, f"{figure.name}-{panel.key}", panel.alternative)


def _comparison(
    suite: Suite, comparisons: Sequence[Comparison], drawn_as: Mapping[str, Look]
) -> Figure | None:
    labels = suite.finished_labels
    if not labels:
        return None
    differences = {c.label: c for c in comparisons if c.difference is not None}

    def draw_accuracy(ax: Axes) -> None:
        for row, label in enumerate(labels):
            by_seed = list(suite.values(label, "average_accuracy").values())
            ax.plot(by_seed, [row] * len(by_seed), "|", color=drawn_as[label].colour, markersize=7)
            over_seeds = seed_spread(suite, label, "average_accuracy")
            if over_seeds is not None:
                draw_point(ax, over_seeds.mean, row, drawn_as[label], label, show_value(over_seeds))
        _row_axis(ax, labels, drawn_as)
        ax.set_xlim(0, 1)
        ax.set_xlabel("average accuracy: mean, and each seed")

    def draw_differences(ax: Axes) -> None:
        ax.axvline(0, color=MUTED[0], linewidth=0.8)
        for row, label in enumerate(labels):
            c = differences.get(label)
            if c is None or c.difference is None:
                continue
            if c.low is not None and c.high is not None:
                ax.plot([c.low, c.high], [row, row], color=drawn_as[label].colour)
            draw_point(ax, c.difference, row, drawn_as[label], label, f"{c.difference:+.3f}")
        _row_axis(ax, labels, drawn_as)
        interval = any(c.low is not None for c in differences.values())
        ax.set_xlabel(
            f"difference from {suite.control}" + (", 95 % interval" if interval else ", one seed")
        )

    panels = [Panel("accuracy", "Average accuracy", "Final average accuracy", draw_accuracy)]
    if differences:
        title = f"Against {suite.control}, paired by seed"
        panels.append(Panel("difference", title, title, draw_differences))
    return Figure(
        name="comparison",
        title="The strategies compared",
        caption="Final average accuracy, and the paired difference from the control.",
        panels=tuple(panels),
        size=(2.9, 0.24 * len(labels) + 0.1),
        margins=Margins(left=0.25 + 0.07 * max(map(len, labels)), right=0.2, bottom=0.5, top=0.3),
    )


def _accuracy(suite: Suite, drawn_as: Mapping[str, Look]) -> Figure | None:
    return _curve_figure(
        suite,
        drawn_as,
        metric="average_accuracy",
        name="accuracy",
        title="Average accuracy on the experiences seen so far",
        caption="Test accuracy on every experience seen so far, averaged, after each experience.",
        y_range=(0.0, 1.0),
    )


def _forgetting(suite: Suite, drawn_as: Mapping[str, Look]) -> Figure | None:
    return _curve_figure(
        suite,
        drawn_as,
        metric="forgetting",
        name="forgetting",
        title="Forgetting of earlier experiences",
        caption="The best accuracy ever reached on an earlier experience minus the accuracy now, "
        "averaged over earlier experiences; lower is better.",
    )


def _accuracy_matrices(suite: Suite) -> Figure:
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
        title="Accuracy matrices",
        caption="Row: the experience just trained. Column: the experience tested. A column that "
        "fades downwards is being forgotten." + _mean_note(suite),
        panels=tuple(panels),
        size=(1.75, 1.75),
        margins=Margins(left=0.42, right=0.08, bottom=0.42, top=0.28),
        scale="share",
    )


def _confusion(suite: Suite) -> Figure:
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
        title="Confusion after the last experience",
        caption="Row: the true class. Column: the class named. Classes stand in the order in "
        "which they were learnt, with a line between experiences; shade in the last columns is a "
        "bias towards what was learnt last." + _mean_note(suite),
        panels=tuple(panels),
        **_class_sizes(suite),
        scale="share",
    )


def _class_means(suite: Suite, space: str) -> Figure:
    panels = _class_pair_panels(suite, f"class_mean_cos/{space}")
    return Figure(
        name=f"class_mean_cosines_{space}",
        title=f"Cosines between class means: {SPACES[space]}",
        caption="Cosine of the angle between the directions of two classes' means, after the last "
        "experience. Orthogonal classes leave everything but the diagonal empty."
        + _mean_note(suite),
        panels=tuple(panels),
        **_class_sizes(suite),
        scale="signed",
    )


def _class_pair_panels(suite: Suite, name: str) -> list[Panel]:
    """A panel for each label that has the array: its last (C, C) matrix."""
    matrices = {label: mean_array(suite, label, name) for label in suite.finished_labels}
    return [
        _class_panel(suite, label, matrix[-1], "{}", "and {}")
        for label, matrix in matrices.items()
        if matrix is not None
    ]


def _simo_similarity(suite: Suite, space: str) -> Figure:
    panels = _class_pair_panels(suite, f"simo_similarity/{space}")
    return Figure(
        name=f"simo_similarity_{space}",
        title=f"SimO similarity of class means: {SPACES[space]}",
        caption="The similarity that the SimO loss sees between two classes' means, normalised to "
        "0 to 1, after the last experience." + _mean_note(suite),
        panels=tuple(panels),
        **_class_sizes(suite),
        scale="share",
    )


def _geometry(suite: Suite, drawn_as: Mapping[str, Look], space: str) -> Figure:
    panels = []
    shown: dict[str, None] = {}
    for index, (metric, title) in enumerate(GEOMETRY.items()):
        curves = _curves(suite, f"{space}/{metric}")
        if not curves:
            continue
        shown |= dict.fromkeys(curve.label for curve in curves)

        def draw(ax: Axes, curves: Sequence[Curve] = curves) -> None:
            draw_curves(ax, curves, drawn_as, experiences=suite.num_experiences)

        alternative = f"{title}, final: {_finals(curves)}"
        panels.append(Panel(str(index), title, alternative, draw))
    return Figure(
        name=f"geometry_{space}",
        title=f"Geometry: {SPACES[space]}",
        caption=f"Geometry of the {SPACES[space]} of the classes seen so far, on unit-norm test "
        "samples." + _band_note(suite),
        panels=tuple(panels),
        size=(2.7, 1.75),
        margins=Margins(left=0.42, right=0.12, bottom=0.44, top=0.3),
        legend=tuple(label for label in suite.finished_labels if label in shown),
    )


def _time(suite: Suite, drawn_as: Mapping[str, Look]) -> Figure | None:
    return _scatter_figure(
        suite,
        drawn_as,
        x=("cost/train_seconds", *_time_unit(suite)),
        y=("average_accuracy", 1.0, "average accuracy"),
        x_from_zero=True,
        name="accuracy_against_time",
        title="Accuracy against training time",
        caption="Final average accuracy and the time spent training; up and to the left is "
        "better. Times compare only runs on one machine with nothing else on it.",
    )


def _plasticity(suite: Suite, drawn_as: Mapping[str, Look]) -> Figure | None:
    return _scatter_figure(
        suite,
        drawn_as,
        x=("learning_accuracy", 1.0, "learning accuracy (plasticity)"),
        y=("forgetting", 1.0, "forgetting (lack of stability)"),
        name="plasticity",
        title="Plasticity and forgetting",
        caption="Accuracy on each experience right after training on it, and what is lost later; "
        "down and to the right is better.",
    )


def _tsne(suite: Suite) -> Figure:
    panels: list[Panel] = []
    colours: dict[str, str] = {}
    for label in suite.finished_labels:
        run = suite.finished(label)[0]
        classes = run.embedding_sample("test_labels")
        points, where = run.embedding_sample("test_embedding"), "loss space"
        if points is None:
            points, where = run.embedding_sample("test_features"), "encoder features"
        if points is None or classes is None:
            continue
        groups, names = _groups(suite, classes, run.array("experience_of_class"))
        colours |= {name: _dot_colour(group) for group, name in names.items() if name}
        keep = _spaced(classes, TSNE_SAMPLES)
        xy = _tsne_layout(points[keep])

        def draw(
            ax: Axes,
            xy: np.ndarray = xy,
            groups: np.ndarray = groups[keep],
            names: Mapping[int, str] = names,
        ) -> None:
            _draw_groups(ax, xy, groups, names)

        alternative = f"t-SNE of {label}, {where}, seed {run.seed}"
        panels.append(Panel(str(len(panels)), f"{label} · {where}", alternative, draw, label=label))
    return Figure(
        name="tsne",
        title="t-SNE of test samples",
        caption=f"Final model of the first finished seed; up to {TSNE_SAMPLES} test samples, "
        "unit norm. A picture to look at: distances between clusters in t-SNE mean nothing; the "
        "geometry tables measure.",
        panels=tuple(panels),
        size=(2.1, 2.1),
        margins=Margins(left=0.06, right=0.06, bottom=0.06, top=0.28),
        colours=colours,
    )


def _curve_figure(
    suite: Suite,
    drawn_as: Mapping[str, Look],
    *,
    metric: str,
    name: str,
    title: str,
    caption: str,
    y_range: tuple[float | None, float | None] = (None, None),
) -> Figure | None:
    """One metric over the experiences trained, with a name at the end of every line."""
    curves = _curves(suite, metric)
    if not curves:
        return None

    def draw(ax: Axes) -> None:
        draw_curves(
            ax,
            curves,
            drawn_as,
            experiences=suite.num_experiences,
            y_range=y_range,
            name_lines=True,
        )
        ax.set_ylabel(metric.replace("_", " "))

    return Figure(
        name=name,
        title=title,
        caption=caption + _band_note(suite),
        panels=(Panel("0", "", f"{title}, final: {_finals(curves)}", draw),),
        size=WIDE,
        margins=_room_for_names(curve.label for curve in curves),
    )


def _scatter_figure(
    suite: Suite,
    drawn_as: Mapping[str, Look],
    *,
    x: tuple[str, float, str],
    y: tuple[str, float, str],
    name: str,
    title: str,
    caption: str,
    x_from_zero: bool = False,
) -> Figure | None:
    """Two final metrics against each other; `x` and `y` are (metric, factor, axis name)."""
    points = []
    for label in suite.finished_labels:
        across, up = (seed_spread(suite, label, metric) for metric, _, _ in (x, y))
        if across is not None and up is not None:
            points.append((label, across, up))
    if not points:
        return None

    def draw(ax: Axes) -> None:
        placed = []
        for label, across, up in points:
            at = (across.mean * x[1], up.mean * y[1])
            tip = f"{x[2]}: {across.mean * x[1]:.3g}\n{y[2]}: {show_value(up)}"
            draw_point(ax, *at, drawn_as[label], label, tip)
            placed.append((label, *at))
        ax.margins(0.06)
        if x_from_zero:
            ax.set_xlim(left=0.0)
        ax.grid(visible=True, axis="both")
        ax.set_xlabel(x[2])
        ax.set_ylabel(y[2])
        name_points(ax, placed, drawn_as)

    rows = "; ".join(f"{a[0]} {a[1].mean * x[1]:.3g}, {a[2].mean:.3f}" for a in points)
    return Figure(
        name=name,
        title=title,
        caption=caption + _mean_note(suite),
        panels=(Panel("0", "", f"{title}: {rows}", draw),),
        size=WIDE,
        margins=_room_for_names(label for label, _, _ in points),
    )


def _class_panel(suite: Suite, label: str, values: np.ndarray, row: str, column: str) -> Panel:
    """A matrix over classes, in the order in which they were learnt where all seeds agree."""
    order, borders = _learning_order(suite, label, len(values))
    names = [_class_name(suite, c) for c in order]
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


def _sheet(figure: Figure, drawn_as: Mapping[str, Look]) -> Canvas:
    """All panels in a grid, with a legend or a key of shades below."""
    width, height = figure.cell
    columns = min(len(figure.panels), max(1, int(12.5 / width)))
    rows = math.ceil(len(figure.panels) / columns)
    columns = math.ceil(len(figure.panels) / rows)
    handles = _legend_handles(figure, drawn_as)
    per_line = max(1, int(columns * width / 1.35))
    lines = math.ceil(len(handles) / per_line)
    foot = 0.22 * lines + 0.1 if handles else 0.42 if figure.scale else 0.0
    total = (columns * width, rows * height + foot)
    canvas = Canvas(figsize=total)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, columns)
        _draw(canvas, figure, panel, left=column * width, bottom=total[1] - (row + 1) * height)
    if handles:
        canvas.legend(
            handles=handles, loc="lower center", ncols=per_line, frameon=False, fontsize=8
        )
    if figure.scale:
        _draw_scale(canvas, figure.scale)
    return canvas


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
    panel.draw(axes)
    axes.set_title(panel.title)


def _legend_handles(figure: Figure, drawn_as: Mapping[str, Look]) -> list[Line2D]:
    handles = []
    for label in figure.legend:
        look = drawn_as[label]
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                linestyle=look.dashes,
                marker=look.marker,
                markersize=5.5,
                markerfacecolor=look.colour if look.filled else SURFACE[0],
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


def _draw_groups(ax: Axes, xy: np.ndarray, groups: np.ndarray, names: Mapping[int, str]) -> None:
    for group, name in names.items():
        inside = groups == group
        if not inside.any():
            continue
        colour = _dot_colour(group)
        draw_dots(ax, xy[inside], colour)
        middle = np.median(xy[inside], axis=0)
        ax.text(
            middle[0],
            middle[1],
            name,
            color=colour,
            fontsize=7,
            ha="center",
            va="center",
            weight="bold",
        )
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(True)
        ax.spines[side].set_color(RULE[0])
    ax.autoscale_view()
    ax.margins(0.1, 0.06)


def _dot_colour(group: int) -> str:
    colours = [light for light, _ in (*HUES.values(), GREY)]
    return colours[group % len(colours)]


def _curves(suite: Suite, metric: str) -> list[Curve]:
    curves = []
    for label in suite.finished_labels:
        points = seed_curve(suite, label, metric)
        if points:
            curves.append(Curve(label, tuple(points), joint=suite.is_joint(label)))
    return curves


def _row_axis(ax: Axes, labels: Sequence[str], drawn_as: Mapping[str, Look]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    for text, label in zip(ax.get_yticklabels(), labels, strict=True):
        text.set_color(drawn_as[label].colour)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.spines["left"].set_visible(False)


def _tsne_layout(points: np.ndarray) -> np.ndarray:
    """Two coordinates a point, the same for the same points."""
    rows = points.astype(np.float32)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    # Rows that coincide exactly make PCA's directions undefined.
    start = "pca" if np.linalg.matrix_rank(rows - rows.mean(axis=0)) >= 2 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(rows)


def _groups(
    suite: Suite, classes: np.ndarray, experience_of_class: np.ndarray | None
) -> tuple[np.ndarray, dict[int, str]]:
    """What colours a t-SNE: the class, or with many classes the experience that taught it."""
    present = np.unique(classes)
    if len(present) <= 10:
        numbers = {int(c): rank for rank, c in enumerate(present)}
        groups = np.array([numbers[int(c)] for c in classes])
        return groups, {rank: _class_name(suite, c) for c, rank in numbers.items()}
    if experience_of_class is None:
        return np.zeros(len(classes), dtype=int), {0: ""}
    groups = experience_of_class[classes].astype(int)
    return groups, {int(e): f"exp. {int(e) + 1}" for e in np.unique(groups)}


def _spaced(classes: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` samples with every class kept in proportion."""
    by_class = np.argsort(classes, kind="stable")
    if len(by_class) <= count:
        return by_class
    return by_class[np.linspace(0, len(by_class) - 1, count).round().astype(int)]


def _learning_order(suite: Suite, label: str, classes: int) -> tuple[np.ndarray, list[int]]:
    stored = [run.array("experience_of_class") for run in suite.finished(label)]
    taught = [array for array in stored if array is not None]
    agreed = len(taught) == len(stored) and all(np.array_equal(t, taught[0]) for t in taught)
    if not agreed:
        return np.arange(classes), []
    order = np.argsort(taught[0], kind="stable")
    return order, [int(i) + 1 for i in np.flatnonzero(np.diff(taught[0][order]))]


def _class_name(suite: Suite, number: int) -> str:
    names = suite.class_names
    return names[number] if number < len(names) else str(number)


def _class_sizes(suite: Suite) -> dict[str, Any]:
    longest = max((len(name[:10]) for name in suite.class_names), default=2)
    room = 0.15 + 0.062 * longest if len(suite.class_names) <= 12 else 0.12
    return {"size": (1.75, 1.75), "margins": Margins(room, 0.08, room, 0.28)}


def _time_unit(suite: Suite) -> tuple[float, str]:
    """What to multiply seconds of training by, and the axis name that goes with it."""
    longest = max(
        (run.final.get("cost/train_seconds", 0.0) for run in suite.finished_runs), default=0.0
    )
    length, unit = next(
        (length, unit)
        for length, unit in ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        if longest > 2 * length or length == 1
    )
    return 1 / length, f"{unit} of training, evaluation left out"


def _room_for_names(labels: Iterable[str]) -> Margins:
    """Margins with the names of rows at the right."""
    return Margins(left=0.55, right=0.33 + 0.07 * max(map(len, labels)), bottom=0.5, top=0.12)


def _finals(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.label} {curve.points[-1][1].mean:.3f}" for curve in curves)


def _band_note(suite: Suite) -> str:
    if all(len(suite.finished(label)) < 2 for label in suite.finished_labels):
        return " One seed."
    return " Mean over seeds; bands are one standard deviation."


def _mean_note(suite: Suite) -> str:
    if all(len(suite.finished(label)) < 2 for label in suite.finished_labels):
        return " One seed."
    return " Mean over seeds."
