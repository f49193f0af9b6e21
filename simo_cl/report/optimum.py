"""The cosine that the SimO loss itself asks of two dissimilar unit vectors."""

from __future__ import annotations

import numpy as np


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
