"""The forces of the SimO loss on a group of points: its negative gradient, in numpy.

With ``d_ij = |e_i - e_j|^2`` and ``o_ij = (e_i . e_j)^2``, a group of n points with label y has the
loss ``l = mean over i < j of y d_ij / (eps + o_ij) + (1 - y) o_ij / (eps + d_ij)``. Its gradient is

    dl/de_i = 2 / (n (n - 1)) * sum over j of  2 a_ij (e_i - e_j) + 2 b_ij (e_i . e_j) e_j

with ``a = y / (eps + o) - (1 - y) o / (eps + d)^2`` and
``b = (1 - y) / (eps + d) - y d / (eps + o)^2``.
Scaling to unit norm, ``e_i = x_i / |x_i|``, keeps of it the part orthogonal to e_i, over ``|x_i|``.
"""

from __future__ import annotations

import numpy as np


def group_gradient(
    points: np.ndarray, label: float, epsilon: float, *, normalize: bool = True
) -> np.ndarray:
    """Gradient of a group's loss with respect to its points.

    Args:
        points: (n, d), n >= 2; no zero rows with `normalize`.
        label: y, 1 for similar and 0 for dissimilar points.
        epsilon: above 0.
        normalize: scale the points to unit norm first, as the loss does by default.

    Returns:
        (n, d) in float64.
    """
    x = np.asarray(points, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    e = x / norms if normalize else x
    products = e @ e.T
    differences = e[:, None] - e[None, :]
    d, o = np.square(differences).sum(axis=-1), np.square(products)
    a = label / (epsilon + o) - (1 - label) * o / (epsilon + d) ** 2
    b = (1 - label) / (epsilon + d) - label * d / (epsilon + o) ** 2
    # A point and itself are no pair.
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    apart = 2 * (a[..., None] * differences).sum(axis=1)
    together = 2 * (b * products) @ e
    pairs = len(e) * (len(e) - 1) / 2
    gradient = (apart + together) / pairs
    if not normalize:
        return gradient
    return (gradient - (gradient * e).sum(axis=1, keepdims=True) * e) / norms


def descend(
    points: np.ndarray, label: float, epsilon: float, *, steps: int = 2000, stride: float = 0.01
) -> np.ndarray:
    """Where gradient descent takes points on the unit sphere.

    Args:
        points: (n, d) of unit norm.
        label, epsilon: of the loss.
        steps: of the descent.
        stride: the farthest that a point moves in a step; smaller where the slope is small.

    Returns:
        (steps + 1, n, d), from the start on.
    """
    path = [np.asarray(points, dtype=np.float64)]
    for _ in range(steps):
        gradient = group_gradient(path[-1], label, epsilon)
        steepest = np.linalg.norm(gradient, axis=1).max()
        moved = path[-1] - gradient * (stride / max(steepest, 0.1))
        path.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
    return np.stack(path)
