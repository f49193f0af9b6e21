"""Read-outs: classifiers on frozen embeddings, from training embeddings to predictions.

Each takes training embeddings (N, d) with labels (N,) and embeddings (M, d), as arrays or CPU
tensors, and returns predictions (M,), always one of the training labels. All are deterministic:
only the MLP head draws random numbers, from a seed of its own. One class, or fewer samples than
neighbours, is fine.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def nearest_class_mean(train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike) -> NDArray[np.integer]:
    """The class whose mean of unit vectors is nearest to the unit vector of each sample.

    Means are not brought to unit norm again, so a scattered class, whose mean is short, is not
    farther away for it.

    Raises:
        ValueError: wrong shapes, no training samples, or NaN or infinite values.
    """
    train_x, train_y, x = _checked(train_x, train_y, x)
    classes, position = np.unique(train_y, return_inverse=True)
    means = np.zeros((len(classes), train_x.shape[1]))
    np.add.at(means, position, _unit(train_x))
    means /= np.bincount(position)[:, None]
    scores = _unit(x) @ means.T - np.square(means).sum(axis=1) / 2
    return classes[scores.argmax(axis=1)]


def linear_probe(train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike) -> NDArray[np.integer]:
    """Multinomial logistic regression on standardized embeddings (scikit-learn's, C = 1).

    Raises:
        ValueError: wrong shapes, no training samples, or NaN or infinite values.
    """
    train_x, train_y, x = _checked(train_x, train_y, x)
    if (train_y == train_y[0]).all():
        return np.full(len(x), train_y[0])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return probe.fit(train_x, train_y).predict(x)


def mlp_head(train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike) -> NDArray[np.integer]:
    """A small network on standardized embeddings, trained for one epoch: the SimO paper's read-out.

    scikit-learn's classifier with one hidden layer of 128 rectified units, Adam at 1e-2 and batches
    of 8; what the paper used is not known. Its start and the order of samples are drawn from a
    fixed seed.

    Raises:
        ValueError: wrong shapes, no training samples, or NaN or infinite values.
    """
    train_x, train_y, x = _checked(train_x, train_y, x)
    if (train_y == train_y[0]).all():
        return np.full(len(x), train_y[0])
    head = MLPClassifier(
        (128,),
        batch_size=min(8, len(train_x)),
        learning_rate_init=1e-2,
        max_iter=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        # One epoch is what is meant, not a failure to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), head).fit(train_x, train_y).predict(x)


def knn(train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike, k: int = 10) -> NDArray[np.integer]:
    """Majority class of the k nearest training samples by cosine (scikit-learn's).

    Between classes with equally many neighbours the smallest label wins. With fewer than k
    training samples, all of them vote.

    Raises:
        ValueError: wrong shapes, no training samples, NaN or infinite values, or k below 1.
    """
    train_x, train_y, x = _checked(train_x, train_y, x)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    neighbours = KNeighborsClassifier(min(k, len(train_x)), algorithm="brute")
    return neighbours.fit(_unit(train_x), train_y).predict(_unit(x))


def _unit(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows brought to unit norm; a zero row stays zero."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def _checked(
    train_x: ArrayLike, train_y: ArrayLike, x: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.integer], NDArray[np.floating]]:
    train_x, x = np.asarray(train_x, dtype=float), np.asarray(x, dtype=float)
    train_y = np.asarray(train_y)
    fits = train_x.ndim == x.ndim == 2 and train_x.shape[1] == x.shape[1]
    if not fits or train_y.shape != train_x.shape[:1]:
        raise ValueError(
            "expected training embeddings (N, d), labels (N,) and embeddings (M, d), got "
            f"{train_x.shape}, {train_y.shape} and {x.shape}"
        )
    if not len(train_x):
        raise ValueError("a read-out needs at least one training sample, got none")
    for name, values in (("training embeddings", train_x), ("embeddings", x)):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} contain NaN or infinite values")
    return train_x, train_y, x
