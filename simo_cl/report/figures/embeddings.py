"""What pictures of embeddings share: which rows, which points, their layout and their colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.classes import class_name
from simo_cl.report.tsne import tsne_layout
from simo_cl.results import Run, Suite
from simo_cl.results.styles import GREY, HUES, RULE, SURFACE

MOST_COLOURS = 10
MOST_STEPS = 6


class Sample(NamedTuple):
    """Points (N, d) of a run's final model with their classes (N,), in a key of `SPACES`."""

    points: np.ndarray
    classes: np.ndarray
    space: str


@dataclass(frozen=True)
class Groups:
    """What the colours of points mean.

    Attributes:
        of_class: (C,) the group of every class: the class itself, or with many classes the
            experience that taught it, and with many of those a few in a row.
        names: of the groups.
    """

    of_class: np.ndarray
    names: Mapping[int, str]

    @property
    def colours(self) -> dict[str, str]:
        """For a figure's legend."""
        return {name: dot_colour(group) for group, name in self.names.items() if name}


def shown_rows(suite: Suite, labels: Sequence[str], most: int) -> tuple[str, ...]:
    """At most so many of the labels, in their order.

    Every strategy has a row before any has two, and those come first that learn the stream, and
    among them those with a loss space of their own.
    """

    def rank(label: str) -> tuple[int, bool, bool]:
        strategy = suite.strategy_of(label)
        alike = [other for other in labels if suite.strategy_of(other) == strategy]
        in_features = main_space(suite.finished(label)[0]) == "features"
        return alike.index(label), suite.is_joint(label), in_features

    chosen = sorted(labels, key=rank)[:most]
    return tuple(label for label in labels if label in chosen)


def shown_steps(count: int) -> list[int]:
    """At most `MOST_STEPS` of so many experiences (0-based), the first and the last among them."""
    steps = np.linspace(0, count - 1, min(count, MOST_STEPS))
    return [int(step) for step in steps.round()]


def shown_note(
    shown: Sequence[str], labels: Sequence[str], others: str = "simo-cl report --row draws others"
) -> str:
    """For a caption: how many of the labels are shown, if not all, and where the others are."""
    if len(shown) >= len(labels):
        return ""
    return (
        f" {len(shown)} of {len(labels)} rows, those with a loss space of their own first; "
        f"{others}."
    )


def main_space(run: Run) -> str:
    """The loss space if the run has one, else the encoder's features."""
    return "features" if run.array("class_mean_cos/embedding") is None else "embedding"


def main_sample(run: Run, part: str) -> Sample | None:
    """Of the training or test images, in the run's main space; None if it has none to draw."""
    space = main_space(run)
    points, classes = (run.embedding_sample(f"{part}_{name}") for name in (space, "labels"))
    return None if points is None or classes is None else Sample(points, classes, space)


def group_classes(suite: Suite, run: Run, present: np.ndarray) -> Groups:
    """Colours for the classes that are present, numbers without repeats."""
    of_class = np.full(int(present.max()) + 1, -1)
    if len(present) <= MOST_COLOURS:
        of_class[present] = np.arange(len(present))
        return Groups(of_class, {rank: class_name(suite, c) for rank, c in enumerate(present)})
    taught = run.array("experience_of_class")
    if taught is None:
        of_class[present] = 0
        return Groups(of_class, {0: ""})
    count = int(taught[present].max()) + 1
    in_a_row = math.ceil(count / MOST_COLOURS)
    of_class[present] = taught[present] // in_a_row
    names = {}
    for group in np.unique(of_class[present]).tolist():
        first, last = group * in_a_row + 1, min((group + 1) * in_a_row, count)
        names[group] = f"exp. {first}" if first == last else f"exp. {first}–{last}"
    return Groups(of_class, names)


class Layout:
    """Two coordinates a point, laid out when they are first asked for.

    It can be sent to the process that asks.

    Args:
        points: (N, d).
    """

    def __init__(self, points: np.ndarray) -> None:
        self._points = points

    @cached_property
    def xy(self) -> np.ndarray:
        """(N, 2)."""
        return tsne_layout(self._points)


def spaced(classes: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` samples, class by class, with every class kept in proportion."""
    by_class = np.argsort(classes, kind="stable")
    if len(by_class) <= count:
        return by_class
    return by_class[np.linspace(0, len(by_class) - 1, count).round().astype(int)]


def draw_groups(ax: Axes, xy: np.ndarray, groups: np.ndarray, names: Mapping[int, str]) -> None:
    """Dots in the colour of their group, with its name above their middle."""
    present = [group for group in names if (groups == group).any()]
    for group in present:
        draw_dots(ax, xy[groups == group], dot_colour(group))
    for group in present:
        middle = np.median(xy[groups == group], axis=0)
        name_group(ax, middle, names[group], dot_colour(group))


def name_group(ax: Axes, at: np.ndarray, name: str, colour: str) -> None:
    """A name above a place, on a patch of the page's colour so that it can be read over dots."""
    ax.annotate(
        name,
        xy=(at[0], at[1]),
        xytext=(0, 3.5),
        textcoords="offset points",
        color=colour,
        fontsize=6.5,
        ha="center",
        va="bottom",
        weight="bold",
        annotation_clip=False,
        bbox={"boxstyle": "round,pad=0.1", "fc": SURFACE[0], "ec": "none", "alpha": 0.6},
    )


def frame(ax: Axes, xy: np.ndarray) -> None:
    """A frame around points whose coordinates mean nothing."""
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(RULE[0])
    low, high = xy.min(axis=0), xy.max(axis=0)
    across, up = np.maximum(high - low, 1e-6) * (0.1, 0.05)
    # Names stand above their group.
    ax.set(xlim=(low[0] - across, high[0] + across), ylim=(low[1] - up, high[1] + 2.4 * up))


def dot_colour(group: int) -> str:
    """One of ten colours that colour-blind readers tell apart."""
    colours = [light for light, _ in (*HUES.values(), GREY)]
    return colours[group % len(colours)]
