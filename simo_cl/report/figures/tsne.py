"""Figures 2 and 3 of the paper: t-SNE of training and test samples, and of pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.classes import class_name, class_sizes, learning_order
from simo_cl.report.figures.embeddings import (
    Groups,
    Layout,
    dot_colour,
    draw_groups,
    frame,
    group_classes,
    main_sample,
    main_space,
    shown_note,
    shown_rows,
    spaced,
)
from simo_cl.report.figures.figure import SPACES, Figure, Margins, Panel
from simo_cl.report.tsne import tsne_layout
from simo_cl.results import Suite
from simo_cl.results.styles import RULE

PARTS = {"train": "training samples", "test": "test samples"}
SAMPLES_OF_A_PART = 300
MOST_ROWS = 14
PAIR_CLASSES = 10
PAIR_SAMPLES_PER_CLASS = 25
MOST_PAIR_ROWS = 6
_WHERE = "in the loss space, or in encoder features where a strategy has none"


def train_and_test(suite: Suite, labels: Sequence[str] = ()) -> Figure:
    """t-SNE of training and test samples, laid out together so that the two can be compared.

    Args:
        labels: rows to draw; by default up to `MOST_ROWS`.
    """
    shown = tuple(labels) or shown_rows(suite, suite.finished_labels, MOST_ROWS)
    panels: list[Panel] = []
    colours: dict[str, str] = {}
    for label in shown:
        run = suite.finished(label)[0]
        points, classes, parts = [], [], []
        for part in PARTS:
            sample = main_sample(run, part)
            if sample is not None:
                kept = spaced(sample.classes, SAMPLES_OF_A_PART)
                points.append(sample.points[kept])
                classes.append(sample.classes[kept])
                parts.append(part)
        if not parts:
            continue
        layout = Layout(np.concatenate(points))
        groups = group_classes(suite, run, np.unique(np.concatenate(classes)))
        colours |= groups.colours
        ends = np.cumsum([0, *map(len, classes)])
        for part, of_part, start, end in zip(parts, classes, ends, ends[1:], strict=False):
            draw = partial(
                _draw_part, layout=layout, kept=slice(start, end), classes=of_part, groups=groups
            )
            alternative = (
                f"t-SNE of {len(of_part)} {PARTS[part]} of {label}, {SPACES[main_space(run)]}, "
                f"seed {run.seed}"
            )
            key = f"{len(panels)}-{part}"
            panels.append(Panel(key, f"{label} · {part}", alternative, draw, label=label))
    return Figure(
        name="tsne",
        section="embeddings",
        title="t-SNE of training and test samples",
        caption=f"Final model of the first finished seed, {_WHERE}; up to {SAMPLES_OF_A_PART} "
        "training and as many test samples of a row, unit norm, in one layout. A picture to look "
        "at: distances between clusters in t-SNE mean nothing; the geometry tables measure."
        + shown_note(shown, suite.finished_labels),
        panels=tuple(panels),
        size=(2.1, 2.1),
        margins=Margins(left=0.06, right=0.06, bottom=0.06, top=0.28),
        colours=colours,
        columns=min(len(panels), 4),
    )


def pairs_of_classes(suite: Suite, labels: Sequence[str] = ()) -> Figure:
    """t-SNE of the test samples of two classes at a time, as a lower-triangular grid.

    Args:
        labels: rows to draw; by default up to `MOST_PAIR_ROWS`.
    """
    shown = tuple(labels) or shown_rows(suite, suite.finished_labels, MOST_PAIR_ROWS)
    panels: list[Panel] = []
    for label in shown:
        run = suite.finished(label)[0]
        sample = main_sample(run, "test")
        if sample is None or len(np.unique(sample.classes)) < 2:
            continue
        points, classes, space = sample
        order, _ = learning_order(run, int(classes.max()) + 1)
        met = order[np.isin(order, classes)]
        chosen = met[spaced(np.arange(len(met)), PAIR_CLASSES)]
        of_class = [points[classes == c][:PAIR_SAMPLES_PER_CLASS] for c in chosen]
        names = [class_name(suite, c)[:10] for c in chosen]
        alternative = (
            f"Pairwise t-SNE of {', '.join(names)}: {label}, {SPACES[space]}, seed {run.seed}"
        )
        draw = partial(_draw_pairs, of_class=of_class, names=names)
        panels.append(Panel(str(len(panels)), label, alternative, draw, label=label))
    chosen_note = f" Shown are {PAIR_CLASSES} classes, evenly spaced in that order."
    sizes = class_sizes(suite)
    return Figure(
        name="tsne_pairs",
        section="embeddings",
        title="Pairwise t-SNE of classes",
        caption="A cell is a t-SNE of two classes alone, its row's and its column's, "
        f"{_WHERE}; final model of the first finished seed, up to {PAIR_SAMPLES_PER_CLASS} test "
        "samples a class. Classes stand in the order in which they were learnt."
        + (chosen_note if len(suite.plan.class_names) > PAIR_CLASSES else "")
        + shown_note(shown, suite.finished_labels),
        panels=tuple(panels),
        size=(3.3, 3.3),
        margins=sizes["margins"]._replace(top=0.3),
    )


def _draw_part(ax: Axes, layout: Layout, kept: slice, classes: np.ndarray, groups: Groups) -> None:
    draw_groups(ax, layout.xy[kept], groups.of_class[classes], groups.names)
    frame(ax, layout.xy)


def _draw_pairs(ax: Axes, of_class: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Cells 1 wide: that of classes a > b reaches from (b, a - 1)."""
    last = len(names) - 1
    for row in range(1, len(names)):
        ax.plot([0, row, row], [row, row, row - 1], color=RULE[0], linewidth=0.6)
        ax.plot([row - 1, row - 1], [row, last], color=RULE[0], linewidth=0.6)
    for column, row in combinations(range(len(names)), 2):
        pair = [of_class[column], of_class[row]]
        layout = tsne_layout(np.concatenate(pair), iterations=350)
        low, high = layout.min(axis=0), layout.max(axis=0)
        inside = 0.08 + 0.84 * (layout - low) / np.maximum(high - low, 1e-6)
        xy = np.split(inside + np.array([column, row - 1]), [len(pair[0])])
        for which, dots in zip((column, row), xy, strict=True):
            draw_dots(ax, dots, dot_colour(which), size=1.7)
    ax.set(xlim=(0, last), ylim=(last, 0), aspect="equal")
    ax.set_xticks(np.arange(last) + 0.5, names[:-1])
    ax.set_yticks(np.arange(last) + 0.5, names[1:])
    for rank, text in enumerate(ax.get_xticklabels()):
        text.set(color=dot_colour(rank), rotation=90 if len(text.get_text()) > 2 else 0)
    for rank, text in enumerate(ax.get_yticklabels()):
        text.set_color(dot_colour(rank + 1))
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
