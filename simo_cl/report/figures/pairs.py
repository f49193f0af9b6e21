"""Whether orthogonality is reached, or only distance: pairs of samples, one dot each."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy.spatial.distance import pdist

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.embeddings import main_sample, spaced
from simo_cl.report.figures.figure import SPACES, Figure, Margins, Panel
from simo_cl.results import Suite
from simo_cl.results.styles import HUES, MUTED

SAMPLES = 60
DOTS = 500
SAME, DIFFERENT = HUES["amber"][0], HUES["blue"][0]
FARTHEST = 5.0


class Pairs(NamedTuple):
    """Pairs of samples of one run.

    Attributes:
        distance: (P,) squared distance over the mean squared norm of the samples.
        cosine: (P,).
        same: (P,) whether both are of one class.
    """

    distance: np.ndarray
    cosine: np.ndarray
    same: np.ndarray


def pairs_of(points: np.ndarray, classes: np.ndarray) -> Pairs:
    """All pairs of the points, which keep the norm that they have.

    Args:
        points: (n, d), n >= 2.
        classes: (n,).
    """
    e = points.astype(np.float64)
    first, second = np.triu_indices(len(e), 1)
    norms = np.linalg.norm(e, axis=1)
    products = (e @ e.T)[first, second]
    return Pairs(
        pdist(e, "sqeuclidean") / max(np.square(norms).mean(), 1e-12),
        products / np.maximum(norms[first] * norms[second], 1e-12),
        classes[first] == classes[second],
    )


def distance_and_orthogonality(suite: Suite) -> Figure:
    """Distance of sample pairs against their cosine, a panel a row."""
    panels: list[Panel] = []
    for label in suite.finished_labels:
        run = suite.finished(label)[0]
        sample = main_sample(run, "test")
        if sample is None or len(sample.points) < 2:
            continue
        numbers = _numbers(pairs_of(sample.points, sample.classes))
        kept = spaced(sample.classes, SAMPLES)
        drawn = pairs_of(sample.points[kept], sample.classes[kept])
        alternative = (
            f"{label}, seed {run.seed}, {SPACES[sample.space]}: {'; '.join(numbers)}, as mean "
            "distance and mean absolute cosine"
        )
        draw = partial(_draw, pairs=drawn, numbers=numbers)
        panels.append(Panel(str(len(panels)), label, alternative, draw, label=label))
    return Figure(
        name="distance_and_orthogonality",
        section="geometry",
        title="Orthogonality against distance",
        caption="A dot is a pair of test samples, with the norms that the model gives them: final "
        "model of the first finished seed, in the loss space, or in encoder features where a "
        "strategy has none. Across: squared distance over the mean squared norm. Up: cosine, 0 is "
        "orthogonal. On the line the two are one, as for all unit vectors; only norms take pairs "
        "off it. Below: mean distance and mean |cos| of all pairs.",
        panels=tuple(panels),
        size=(1.95, 1.75),
        margins=Margins(left=0.4, right=0.1, bottom=0.62, top=0.28),
        colours={"same class": SAME, "different classes": DIFFERENT},
    )


def _numbers(pairs: Pairs) -> tuple[str, ...]:
    return tuple(
        f"{name} {pairs.distance[chosen].mean():.2f}, {np.abs(pairs.cosine[chosen]).mean():.2f}"
        for name, chosen in (("same", pairs.same), ("different", ~pairs.same))
        if chosen.any()
    )


def _draw(ax: Axes, pairs: Pairs, numbers: tuple[str, ...]) -> None:
    ax.axhline(0, color=MUTED[0], linewidth=0.6)
    ax.plot([0, 4], [1, -1], color=MUTED[0], linewidth=0.8, linestyle=(0, (4, 2)))
    for chosen, colour in ((~pairs.same, DIFFERENT), (pairs.same, SAME)):
        dots = np.stack([pairs.distance[chosen], pairs.cosine[chosen]], axis=1)
        dots = dots[dots[:, 0] <= FARTHEST][:: max(1, len(dots) // DOTS)]
        if len(dots):
            draw_dots(ax, dots, colour, size=1.8)
    ax.set(xlim=(-0.15, FARTHEST), ylim=(-1.08, 1.08), yticks=[-1, 0, 1])
    ax.set_xlabel("\n".join(numbers), fontsize=7.5)
