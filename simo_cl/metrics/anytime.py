"""Metrics of accuracies that are measured many times while the stream is learnt.

A curve has n points. Point k was measured after ``batches[k]`` batches of the stream, rising, while
or right after experience ``experiences[k]`` was trained.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

Metrics = dict[str, float]


def anytime_metrics(
    accuracy: ArrayLike, by_experience: ArrayLike, batches: ArrayLike, experiences: ArrayLike
) -> Metrics:
    """Every metric of a curve that is defined so far, by its name.

    Args:
        accuracy: (n,), on all classes seen by then.
        by_experience: (n, E), on each experience of the stream; entries of experiences not yet
            begun are not read.
        batches: (n,).
        experiences: (n,).
    """
    values = {
        "anytime/accuracy": anytime_accuracy(accuracy, batches),
        "anytime/min_accuracy": anytime_min_accuracy(by_experience, experiences),
        "anytime/worst_case_accuracy": anytime_worst_case_accuracy(by_experience, experiences),
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}


def anytime_accuracy(accuracy: ArrayLike, batches: ArrayLike) -> float:
    """Area under the curve of accuracy over batches, divided by all batches (Koh et al., 2022).

    ``sum over k of accuracy[k] (batches[k] - batches[k-1]) / batches[n]``, in [0, 1], higher is
    better: each accuracy stands for the batches since the one before. With points at equal
    distances, as in the paper, it is their mean.

    Raises:
        ValueError: no points, batches that do not rise from above 0, or as many accuracies as
            there are not batches.

    Example:
        >>> anytime_accuracy([1.0, 0.5, 0.75], [10, 20, 30])
        0.75
    """
    values, counts = np.asarray(accuracy, dtype=float), np.asarray(batches, dtype=float)
    widths = np.diff(counts, prepend=0)
    if values.ndim != 1 or values.shape != counts.shape or not len(values) or (widths <= 0).any():
        raise ValueError(
            "a curve has accuracies (n,) and as many rising numbers of batches above 0; got "
            f"{values.shape} and {counts.tolist()}"
        )
    return float(values @ widths / counts[-1])


def anytime_min_accuracy(by_experience: ArrayLike, experiences: ArrayLike) -> float:
    """Mean over old experiences of the lowest accuracy since they were learnt.

    ``mean over i < T of (min over k with experiences[k] > i of by_experience[k, i])`` with T the
    experience trained last: min-ACC (De Lange et al., 2023), in [0, 1], higher is better. NaN while
    the first experience is trained.

    Raises:
        ValueError: not one row of accuracies for each point.
    """
    A, trained = _checked(by_experience, experiences)
    lowest = [A[trained > i, i].min() for i in range(trained[-1])]
    return float(np.mean(lowest)) if lowest else math.nan


def anytime_worst_case_accuracy(by_experience: ArrayLike, experiences: ArrayLike) -> float:
    """The accuracy on the newest experience, and the minimum accuracy on the old ones.

    ``A[n, T] / T + (1 - 1/T) anytime_min_accuracy``, T the number of experiences begun: WC-ACC (De
    Lange et al., 2023), in [0, 1], higher is better.

    Raises:
        ValueError: not one row of accuracies for each point.
    """
    A, trained = _checked(by_experience, experiences)
    share = 1 / (trained[-1] + 1)
    newest = float(A[-1, trained[-1]])
    if share == 1:
        return newest
    return share * newest + (1 - share) * anytime_min_accuracy(A, trained)


def _checked(by_experience: ArrayLike, experiences: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    A, trained = np.asarray(by_experience, dtype=float), np.asarray(experiences, dtype=int)
    if A.ndim != 2 or not len(A) or trained.shape != A.shape[:1] or trained[-1] >= A.shape[1]:
        raise ValueError(
            "a curve has accuracies (n, E) on each of E experiences, and (n,) numbers below E of "
            f"the experiences in training; got {A.shape} and {trained.tolist()}"
        )
    return A, trained
