"""t-SNE of the few points of a picture."""

from __future__ import annotations

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits


def tsne_layout(points: np.ndarray, *, iterations: int = 500) -> np.ndarray:
    """Two coordinates a point, the same for the same points.

    Args:
        points: (N, d), brought to unit norm here.
        iterations: 250 of them pull clusters together, the others settle them.

    Returns:
        (N, 2).

    Example:
        >>> tsne_layout(np.eye(12)).shape
        (12, 2)
    """
    exact = points.astype(np.float64)  # large norms overflow in less
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    rows = np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0).astype(np.float32)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    # One thread: the same picture on every machine, and on a busy one threads of so little work
    # spend their time waiting for each other.
    with threadpool_limits(1):
        # Rows that coincide exactly make PCA's directions undefined.
        start = "pca" if np.linalg.matrix_rank(rows - rows.mean(axis=0)) >= 2 else "random"
        layout = TSNE(perplexity=perplexity, init=start, max_iter=iterations, random_state=0)
        return layout.fit_transform(rows)
