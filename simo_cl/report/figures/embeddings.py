"""Pictures of the embeddings themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from sklearn.manifold import TSNE

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.classes import class_name
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.load import Suite
from simo_cl.report.palette import GREY, HUES, RULE

TSNE_SAMPLES = 500


def tsne(suite: Suite) -> Figure:
    """t-SNE of the test samples of one run of every row."""
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
        section="embeddings",
        title="t-SNE of test samples",
        caption=f"Final model of the first finished seed; up to {TSNE_SAMPLES} test samples, "
        "unit norm. A picture to look at: distances between clusters in t-SNE mean nothing; the "
        "geometry tables measure.",
        panels=tuple(panels),
        size=(2.1, 2.1),
        margins=Margins(left=0.06, right=0.06, bottom=0.06, top=0.28),
        colours=colours,
    )


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
        return groups, {rank: class_name(suite, c) for c, rank in numbers.items()}
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
