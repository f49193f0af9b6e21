"""Figure 1 of the paper: what the SimO loss does to points in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from scipy.integrate import solve_ivp

from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.settings import lookup
from simo_cl.results import Suite
from simo_cl.results.styles import HUES, RULE, SURFACE

LONGEST_ARROW = 0.45
# In learning rates times steps: after it nothing moves.
_LONG = 1000.0
# Where the reader stands, and what is up for them.
VIEW, UP = np.array([1.0, 0.55, 0.75]), np.array([0.0, 0.0, 1.0])


# Titles of groups of points on the sphere, in a cone around (1, 1, 1); how many, and whether they
# are of one class.
_GROUPS = {
    "dissimilar": ("3 points, all dissimilar", 3, False),
    "crowded": ("6 points, all dissimilar", 6, False),
    "similar": ("6 points, all similar", 6, True),
}


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
        panels=tuple(_panel(key, *group, epsilon) for key, group in _GROUPS.items()),
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


def journey(start: np.ndarray, similar: bool, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the loss takes points of unit norm if each follows its negative gradient.

    Args:
        start: (n, d).
        similar: whether they are of one class, or of n.

    Returns:
        The negative gradient at the start (n, d), and the path (S, n, d) from the start to rest.
    """
    import torch

    from simo_cl.losses import simo_loss

    classes = torch.zeros(len(start), dtype=torch.long) if similar else torch.arange(len(start))

    def force(time: float, points: np.ndarray) -> np.ndarray:
        x = torch.tensor(points.reshape(start.shape), requires_grad=True)
        simo_loss(x, classes, epsilon=epsilon, weights=(1, 0, 1)).backward()
        assert x.grad is not None
        return -x.grad.numpy().ravel()

    # The gradient of a loss of directions is at right angles to the points, which stay where they
    # are: on the sphere.
    followed = solve_ivp(force, (0, _LONG), start.ravel(), method="LSODA", rtol=1e-8, atol=1e-8)
    path = followed.y.T.reshape(-1, *start.shape)
    path /= np.linalg.norm(path, axis=2, keepdims=True)
    return force(0, start).reshape(start.shape), path


def _panel(key: str, title: str, count: int, similar: bool, epsilon: float) -> Panel:
    start = _points_in_cone(count)
    force, path = journey(start, similar, epsilon)
    angles = f"angles {_show_angles(start)} become {_show_angles(path[-1])}"
    hues = [light for light, _ in reversed(HUES.values())]
    colours = hues[:1] * count if similar else hues[:count]
    arrows = LONGEST_ARROW * force / np.linalg.norm(force, axis=1).max()
    draw = partial(_draw, path=path, arrows=arrows, colours=colours, below=angles)
    return Panel(key, title, f"{title}: {angles}", draw)


def _points_in_cone(count: int) -> np.ndarray:
    """Spread unevenly, since an even spread can be a balance of forces that any breath upsets."""
    random = np.random.default_rng(0)
    middle, first = np.ones(3) / np.sqrt(3), np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    turn = 2 * np.pi * (np.arange(count)[:, None] + random.uniform(-0.3, 0.3, (count, 1))) / count
    tilt = np.radians(random.uniform(18, 36, (count, 1)))
    sideways = np.cos(turn) * first + np.sin(turn) * np.cross(middle, first)
    return np.cos(tilt) * middle + np.sin(tilt) * sideways


def _show_angles(points: np.ndarray) -> str:
    cosines = (points @ points.T)[np.triu_indices(len(points), 1)]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1))).round().astype(int)
    values, counts = np.unique(angles, return_counts=True)
    if len(values) == 1:
        return f"{values[0]}°"
    if len(values) == 2:
        return " and ".join(f"{v}° ({n}×)" for v, n in zip(values, counts, strict=True))
    return f"{values[0]} to {values[-1]}°"


def _draw(
    ax: Axes, path: np.ndarray, arrows: np.ndarray, colours: Sequence[str], below: str
) -> None:
    turn = np.linspace(0, 2 * np.pi, 97)
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
    ax.plot(circle[:, 0], circle[:, 1], color=RULE[0], linewidth=1)
    for axis in range(3):
        across = _seen(np.roll(circle, axis, axis=1))
        front = np.where(across[:, 2:] >= 0, across[:, :2], np.nan)
        ax.plot(front[:, 0], front[:, 1], color=RULE[0], linewidth=0.6)
    for index, colour in enumerate(colours):
        _draw_journey(ax, path[:, index], arrows[index], colour)
    ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), xticks=[], yticks=[], aspect="equal")
    ax.set_xlabel(below)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def _draw_journey(ax: Axes, path: np.ndarray, arrow: np.ndarray, colour: str) -> None:
    """From a dot along a line to a ring, with a ray from the middle of the sphere to the ring."""
    start, end, tip = _seen(path[0]), _seen(path[-1]), _seen(path[0] + arrow)
    way = _seen(_evenly(path))
    behind = end[2] < 0
    ax.plot([0, end[0]], [0, end[1]], color=colour, linewidth=0.8, alpha=0.35 if behind else 0.7)
    ax.plot(way[:, 0], way[:, 1], color=colour, linewidth=1, alpha=0.6)
    head = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=tuple(tip[:2]), xytext=tuple(start[:2]), arrowprops=head)
    ax.plot(*start[:2], "o", color=colour, markersize=4.5)
    (ring,) = ax.plot(*end[:2], "o", markersize=8, alpha=0.5 if behind else 1.0)
    ring.set(markerfacecolor=SURFACE[0], markeredgecolor=colour, markeredgewidth=1.2)


def _evenly(path: np.ndarray) -> np.ndarray:
    """Some 40 places on it, evenly by the distance travelled."""
    travelled = np.r_[0, np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()]
    places = np.linspace(0, travelled[-1], 40)
    return np.stack([np.interp(places, travelled, along) for along in path.T], axis=1)


def _seen(points: np.ndarray) -> np.ndarray:
    """Right, up and towards the reader of points (..., 3), without perspective."""
    towards = VIEW / np.linalg.norm(VIEW)
    right = np.cross(UP, towards)
    right /= np.linalg.norm(right)
    return points @ np.stack([right, np.cross(towards, right), towards], axis=1)
