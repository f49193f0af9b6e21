"""Continual-learning metrics: pure functions of an accuracy matrix or a confusion matrix.

``A[t, i]`` is the accuracy on experience i after training on experiences 0..t, in [0, 1]. A has
shape (T, E): one row for each of the T experiences trained so far, one column for each of the E
experiences of the stream. Entries of experiences not yet trained on (i > t) are not read, except
by ``forward_transfer``.

A metric that is not defined yet, such as forgetting after the first experience, is NaN here and
left out of ``continual_metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix as _count_confusions


def continual_metrics(A: ArrayLike, *, joint: bool = False) -> dict[str, float]:
    """Every metric that A alone defines so far, by its name.

    Args:
        A: (T, E) accuracy matrix.
        joint: A is the single row (1, E) of training on all experiences at once: its average is
            over all E, and there is no stream to forget, to transfer or to average over.

    Example:
        >>> continual_metrics([[1.0, 0.0], [0.5, 0.75]])["average_accuracy"]
        0.625
    """
    if joint:
        values = {"average_accuracy": float(_joint_row(A).mean())}
    else:
        values = {
            "average_accuracy": average_accuracy(A),
            "average_anytime_accuracy": average_anytime_accuracy(A),
            "min_accuracy": min_accuracy(A),
            "worst_case_accuracy": worst_case_accuracy(A),
            "forgetting": forgetting(A),
            "backward_transfer": backward_transfer(A),
            "learning_accuracy": learning_accuracy(A),
        }
    return {name: value for name, value in values.items() if math.isfinite(value)}


def average_accuracy(A: ArrayLike) -> float:
    """Mean over the experiences seen of the accuracy now: ``mean over i<=T of A[T, i]``.

    Example:
        >>> average_accuracy([[1.0, 0.0], [0.5, 0.75]])
        0.625
    """
    A = _matrix(A)
    return float(A[-1, : len(A)].mean())


def average_anytime_accuracy(A: ArrayLike) -> float:
    """Mean over time of the average accuracy at that time (Caccia et al., 2022).

    Example:
        >>> average_anytime_accuracy([[1.0, 0.0], [0.5, 0.75]])
        0.8125
    """
    A = _matrix(A)
    return float(np.mean([average_accuracy(A[: t + 1]) for t in range(len(A))]))


def min_accuracy(A: ArrayLike) -> float:
    """Mean over old experiences of the lowest accuracy since they were learnt.

    ``mean over i<T of (min over i<t<=T of A[t, i])`` (De Lange et al., 2023), at the ends of
    experiences. NaN for one experience.

    Example:
        >>> min_accuracy([[1.0, 0.0], [0.5, 0.75]])
        0.5
    """
    A = _matrix(A)
    return _mean_over_old(A, lambda i: A[i + 1 :, i].min())


def worst_case_accuracy(A: ArrayLike) -> float:
    """The accuracy on the newest experience, and the minimum accuracy on the old ones.

    ``A[T, T] / T + (1 - 1/T) min_accuracy`` with T experiences seen (De Lange et al., 2023).

    Example:
        >>> worst_case_accuracy([[1.0, 0.0], [0.5, 0.75]])
        0.625
    """
    A = _matrix(A)
    newest = A[-1, len(A) - 1] / len(A)
    return float(newest if len(A) == 1 else newest + (1 - 1 / len(A)) * min_accuracy(A))


def forgetting(A: ArrayLike) -> float:
    """Mean over old experiences of the best accuracy before minus the accuracy now.

    ``mean over i<T of (max over i<=t<T of A[t, i] - A[T, i])``, in [-1, 1], lower is better
    (Chaudhry et al., 2018; Avalanche's own metric takes the first accuracy instead of the best).
    NaN for one experience.

    Example:
        >>> forgetting([[1.0, 0.0], [0.5, 0.75]])
        0.5
    """
    A = _matrix(A)
    return _mean_over_old(A, lambda i: A[i:-1, i].max() - A[-1, i])


def backward_transfer(A: ArrayLike) -> float:
    """Mean over old experiences of the accuracy now minus the accuracy when learnt.

    ``mean over i<T of (A[T, i] - A[i, i])``, in [-1, 1], higher is better (Lopez-Paz & Ranzato,
    2017). NaN for one experience.

    Example:
        >>> backward_transfer([[1.0, 0.0], [0.5, 0.75]])
        -0.5
    """
    A = _matrix(A)
    return _mean_over_old(A, lambda i: A[-1, i] - A[i, i])


def learning_accuracy(A: ArrayLike) -> float:
    """Mean accuracy on each experience right after it was learnt: ``mean A[i, i]``.

    Example:
        >>> learning_accuracy([[1.0, 0.0], [0.5, 0.75]])
        0.875
    """
    return float(np.diagonal(_matrix(A)).mean())


def intransigence(A: ArrayLike, A_joint: ArrayLike) -> float:
    """How much worse each experience is learnt than by joint training.

    ``mean over i<=T of (A_joint[i] - A[i, i])``, in [-1, 1], lower is better (after Chaudhry et
    al., 2018).

    Args:
        A: (T, E) accuracy matrix.
        A_joint: (E,) or (1, E) accuracies of one model trained on all experiences at once.

    Raises:
        ValueError: the two do not have the same number of experiences.

    Example:
        >>> intransigence([[1.0, 0.0], [0.5, 0.75]], [1.0, 1.0])
        0.125
    """
    A, joint = _matrix(A), _joint_row(A_joint)
    _check_same_experiences(A, joint, "A_joint")
    learnt = np.diagonal(A)
    return float((joint[: len(learnt)] - learnt).mean())


def forward_transfer(A_knn: ArrayLike, initial: ArrayLike) -> float:
    """How much earlier experiences improve the representation of the next one.

    ``mean over 1<=i<=T of (A_knn[i-1, i] - initial[i])``, in [-1, 1], higher is better. After
    Lopez-Paz & Ranzato (2017), with a k-nearest-neighbour read-out that knows samples of all
    classes: a class-incremental classifier cannot name a class it has not met. NaN for a stream
    of one experience.

    Args:
        A_knn: (T, E) accuracy of that read-out; column i is read at row i - 1.
        initial: (E,) its accuracy with the initial weights.

    Raises:
        ValueError: the two do not have the same number of experiences.

    Example:
        >>> forward_transfer([[1.0, 0.5], [0.5, 0.75]], initial=[0.25, 0.25])
        0.25
    """
    A, initial = _matrix(A_knn), np.asarray(initial, dtype=float)
    _check_same_experiences(A, initial, "initial")
    gains = np.diagonal(A, offset=1) - initial[1 : len(A) + 1]
    return float(gains.mean()) if len(gains) else math.nan


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """How often class r was called c: (num_classes, num_classes), rows true, columns predicted.

    Raises:
        ValueError: a label or prediction outside [0, num_classes).

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    for name, values in (("label", np.asarray(true)), ("prediction", np.asarray(predicted))):
        outside = values[(values < 0) | (values >= num_classes)]
        if len(outside):
            raise ValueError(f"{name} {outside[0]} is not in [0, {num_classes})")
    if not np.size(true):
        return np.zeros((num_classes, num_classes), dtype=np.int64)
    return _count_confusions(true, predicted, labels=np.arange(num_classes))


def class_accuracy(confusion: ArrayLike, classes: Sequence[int]) -> float:
    """Accuracy on the samples of some classes, against all classes as answers.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.
        classes: such as those learnt last, or all before.

    Returns:
        NaN without classes, or if they have no samples.

    Example:
        >>> class_accuracy([[1, 1], [0, 1]], classes=[0])
        0.5
    """
    rows = np.asarray(confusion)[list(classes)]
    samples = rows.sum()
    right = rows[np.arange(len(rows)), list(classes)].sum()
    return float(right / samples) if samples else math.nan


def _mean_over_old(A: NDArray[np.float64], value: Callable[[int], float]) -> float:
    old = range(len(A) - 1)
    return float(np.mean([value(i) for i in old])) if old else math.nan


def _matrix(A: ArrayLike) -> NDArray[np.float64]:
    A = np.asarray(A, dtype=float)
    if A.ndim != 2 or not 1 <= len(A) <= A.shape[1]:
        raise ValueError(
            "an accuracy matrix has a row for each experience trained so far and a column for "
            f"each of the stream, (T, E) with 1 <= T <= E; got {A.shape}"
        )
    _check_shares(A)
    return A


def _joint_row(A: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(A, dtype=float)
    row = values[0] if values.ndim == 2 and len(values) == 1 else values
    if row.ndim != 1 or not len(row):
        raise ValueError(
            f"joint training has one row of accuracies, (1, E) or (E,); got {values.shape}"
        )
    _check_shares(row)
    return row


def _check_shares(A: NDArray[np.float64]) -> None:
    outside = A[(A < 0) | (A > 1)]
    if len(outside):
        raise ValueError(f"accuracies are shares in [0, 1], got {outside[0]:g}")


def _check_same_experiences(A: NDArray[np.float64], other: NDArray[np.float64], name: str) -> None:
    if other.shape != A.shape[1:]:
        raise ValueError(f"{name} has {other.size} experiences and A {A.shape[1]}")
