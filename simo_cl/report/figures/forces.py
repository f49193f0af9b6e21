"""Figure 1 of the paper: what the SimO loss does to points in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.forces import descend, group_gradient
from simo_cl.report.settings import lookup
from simo_cl.results import Suite
from simo_cl.results.styles import HUES, RULE, SURFACE

LONGEST_ARROW = 0.45
# Where the reader stands, and what is up for them.
VIEW, UP = np.array([1.0, 0.55, 0.75]), np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class _Group:
    """Points on the sphere with one label, in a cone around (1, 1, 1)."""

    key: str
    title: str
    count: int
    similar: bool


_GROUPS = (
    _Group("dissimilar", "3 points, all dissimilar", 3, similar=False),
    _Group("crowded", "6 points, all dissimilar", 6, similar=False),
    _Group("similar", "6 points, all similar", 6, similar=True),
)


def forces(suite: Suite) -> Figure | None:
    """The forces of the pairwise form, with the epsilon of its first row; None without one."""
    epsilon = _first_epsilon(suite)
    if epsilon is None:
        return None
    return Figure(
        name="forces",
        section="loss",
        title="The forces of the SimO loss in three dimensions",
        caption="Arrows: the negative gradient at the start, longest where the force is strongest. "
        "Lines: where descent takes the points, to the rings. As many dissimilar points as "
        "dimensions end at right angles; more do not fit, and some end opposite each other. "
        f"Computed from the loss on the unit sphere, with ε {epsilon:.3g} and no leaning.",
        panels=tuple(_panel(group, epsilon) for group in _GROUPS),
        size=(2.4, 2.4),
        margins=Margins(left=0.1, right=0.1, bottom=0.32, top=0.3),
    )


def _first_epsilon(suite: Suite) -> float | None:
    for label in suite.finished_labels:
        config = suite.finished(label)[0].config
        epsilon = lookup(config, "settings.epsilon")
        form = lookup(config, "settings.form")
        if isinstance(epsilon, (int, float)) and form in (None, "pairwise", "batch"):
            return float(epsilon)
    return None


def _panel(group: _Group, epsilon: float) -> Panel:
    label = 1.0 if group.similar else 0.0
    start = _points_in_cone(group.count)
    force = -group_gradient(start, label, epsilon)
    path = descend(start, label, epsilon, steps=4000)
    angles = f"angles {_show_angles(start)} become {_show_angles(path[-1])}"

    def draw(ax: Axes) -> None:
        _draw_sphere(ax)
        hues = list(HUES.values())
        for index in range(group.count):
            colour = hues[-1 - (0 if group.similar else index)][0]
            _draw_journey(ax, path[:, index], _arrow(force)[index], colour)
        ax.set_xlabel(angles)

    return Panel(group.key, group.title, f"{group.title}: {angles}", draw)


def _points_in_cone(count: int) -> np.ndarray:
    """Spread unevenly, since an even spread can be a balance of forces that any breath upsets."""
    random = np.random.default_rng(0)
    middle, first = np.ones(3) / np.sqrt(3), np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    turn = 2 * np.pi * (np.arange(count)[:, None] + random.uniform(-0.3, 0.3, (count, 1))) / count
    tilt = np.radians(random.uniform(18, 36, (count, 1)))
    sideways = np.cos(turn) * first + np.sin(turn) * np.cross(middle, first)
    return np.cos(tilt) * middle + np.sin(tilt) * sideways


def _arrow(force: np.ndarray) -> np.ndarray:
    return LONGEST_ARROW * force / np.linalg.norm(force, axis=1).max()


def _show_angles(points: np.ndarray) -> str:
    cosines = (points @ points.T)[np.triu_indices(len(points), 1)]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1))).round().astype(int)
    values, counts = np.unique(angles, return_counts=True)
    if len(values) == 1:
        return f"{values[0]}°"
    if len(values) == 2:
        return " and ".join(f"{v}° ({n}×)" for v, n in zip(values, counts, strict=True))
    return f"{values[0]} to {values[-1]}°"


def _draw_sphere(ax: Axes) -> None:
    turn = np.linspace(0, 2 * np.pi, 97)
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
    ax.plot(circle[:, 0], circle[:, 1], color=RULE[0], linewidth=1)
    for axis in range(3):
        across = _seen(np.roll(circle, axis, axis=1))
        front = np.where(across[:, 2:] >= 0, across[:, :2], np.nan)
        ax.plot(front[:, 0], front[:, 1], color=RULE[0], linewidth=0.6)
    ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), xticks=[], yticks=[], aspect="equal")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def _draw_journey(ax: Axes, path: np.ndarray, arrow: np.ndarray, colour: str) -> None:
    """From a dot along a line to a ring, with a ray from the middle of the sphere to the ring."""
    start, end, tip = _seen(path[0]), _seen(path[-1]), _seen(path[0] + arrow)
    kept = _seen(path[_spread_along(path)])
    behind = end[2] < 0
    ax.plot([0, end[0]], [0, end[1]], color=colour, linewidth=0.8, alpha=0.35 if behind else 0.7)
    ax.plot(kept[:, 0], kept[:, 1], color=colour, linewidth=1, alpha=0.6)
    ax.annotate(
        "",
        xy=(tip[0], tip[1]),
        xytext=(start[0], start[1]),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.6,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
    ax.plot(*start[:2], "o", color=colour, markersize=4.5)
    ax.plot(
        *end[:2],
        "o",
        markersize=8,
        markerfacecolor=SURFACE[0],
        markeredgecolor=colour,
        markeredgewidth=1.2,
        alpha=0.5 if behind else 1.0,
    )


def _spread_along(path: np.ndarray) -> np.ndarray:
    """Some 40 steps, evenly by the distance travelled."""
    travelled = np.r_[0, np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()]
    places = np.linspace(0, travelled[-1], 40)
    return np.minimum(np.searchsorted(travelled, places), len(path) - 1)


def _seen(points: np.ndarray) -> np.ndarray:
    """Right, up and towards the reader of points (..., 3), without perspective."""
    towards = VIEW / np.linalg.norm(VIEW)
    right = np.cross(UP, towards)
    right /= np.linalg.norm(right)
    return points @ np.stack([right, np.cross(towards, right), towards], axis=1)
