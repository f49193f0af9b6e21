"""The SimO similarity of vectors, in numpy."""

from __future__ import annotations

import numpy as np


def simo_similarity(points: np.ndarray, epsilon: float = 0.1) -> np.ndarray:
    """``eps * o_ij / (eps + d_ij)`` of all pairs: (n, n), in [0, 1].

    The SimO loss of a dissimilar pair over its largest value on the unit sphere, as
    `simo_cl.metrics.geometry.simo_similarity` computes it in torch for class means.

    Args:
        points: (n, d), brought to unit norm here; a zero row stays zero.
        epsilon: above 0.
    """
    x = np.asarray(points, dtype=np.float64)
    e = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    products = e @ e.T
    squares = np.diag(products)
    d = np.maximum(squares[:, None] + squares - 2 * products, 0)
    return np.minimum(epsilon * np.square(products) / (epsilon + d), 1)
