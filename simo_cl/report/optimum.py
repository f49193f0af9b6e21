"""The cosine that the SimO loss itself asks of two dissimilar unit vectors, and that measured."""

from __future__ import annotations

import numpy as np

from simo_cl.metrics.over_seeds import Spread, spread
from simo_cl.report.settings import lookup
from simo_cl.results import Suite


def best_cosine(epsilon: float, leaning: float) -> float:
    """Where SimO's pairwise term with label `leaning` is smallest on the unit sphere.

    With c the cosine, d = 2 - 2c and o = c^2, the term is
    `leaning * d / (epsilon + o) + (1 - leaning) * o / (epsilon + d)`. Without leaning the minimum
    is at c = 0; leaning moves it towards the other vector.

    Args:
        epsilon: above 0.
        leaning: the label of dissimilar groups, 0 to 1.

    Returns:
        The cosine in [-1, 1], to 1e-4.
    """
    c = np.linspace(-1.0, 1.0, 20001)
    d, o = 2 - 2 * c, c**2
    term = leaning * d / (epsilon + o) + (1 - leaning) * o / (epsilon + d)
    return float(c[np.argmin(term)])


def optimum_of(suite: Suite, label: str) -> float | None:
    """What a row's settings ask of two dissimilar vectors; None for other losses and forms.

    That is `best_cosine`, and in the kernel form minus the bias, whatever epsilon and leaning are.
    """
    config = suite.finished(label)[0].config
    if lookup(config, "settings.form") in ("distance", "orthogonality"):
        return None
    if lookup(config, "settings.form") == "kernel":
        return -min(float(lookup(config, "settings.bias")), 1.0)
    epsilon, leaning = (lookup(config, f"settings.{key}") for key in ("epsilon", "leaning"))
    if not isinstance(epsilon, (int, float)):
        return None
    return best_cosine(float(epsilon), float(leaning) if isinstance(leaning, (int, float)) else 0.0)


def class_cosine(suite: Suite, label: str) -> Spread | None:
    """The mean cosine of two class means in the loss space after the last experience, over seeds.

    With its sign: 0 also where angles above and below a right one cancel. None unless every
    finished seed has it.
    """
    matrices = [run.array("class_mean_cos/embedding") for run in suite.finished(label)]
    means = [
        float(np.nanmean(matrix[-1][np.triu_indices(matrix.shape[1], 1)]))
        for matrix in matrices
        if matrix is not None
    ]
    return spread(means) if len(means) == len(matrices) else None
