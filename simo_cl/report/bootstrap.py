"""Statistics of several data sets' runs at once, with intervals by the stratified bootstrap.

As R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville and M. G. Bellemare, Deep reinforcement
learning at the edge of the statistical precipice, NeurIPS 2021, ask for: runs are drawn with
replacement within each data set, and the interval is between two percentiles of what the resamples
give. It supposes nothing of the runs' distribution, and is too narrow of few: with five normal runs
of a data set, an interval of 95 % holds the true value in 91 % of cases, with ten in 93 to 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
# Of fewer, resamples say little about others: of seeds in each data set, and of strategies.
UNITS_FOR_AN_INTERVAL = 5


@dataclass(frozen=True)
class Estimate:
    """A statistic, and the ends of its 95 % interval; None where a data set has too few runs."""

    value: float
    low: float | None = None
    high: float | None = None


def percentile_interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of a statistic of resamples, those apart in which it is not defined."""
    ends = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(ends[0]), float(ends[1])


def interquartile_mean(runs: Sequence[ArrayLike]) -> Estimate:
    """The mean of the middle half of the runs of all data sets together.

    A quarter of them, rounded down, is left out at each end: of fewer than four, none.

    Args:
        runs: of each data set, (number of runs,).

    Example:
        >>> interquartile_mean([[0.1, 0.5, 0.75], [9.0]]).value
        0.625
    """
    ordered = [np.sort(np.asarray(of_set, dtype=float)) for of_set in runs]
    value = float(_middle_mean(np.concatenate(ordered)))
    if min(map(len, ordered)) < UNITS_FOR_AN_INTERVAL:
        return Estimate(value)
    resampled = [of_set[units_drawn(len(of_set), place)] for place, of_set in enumerate(ordered)]
    return Estimate(value, *percentile_interval(_middle_mean(np.hstack(resampled))))


def _middle_mean(runs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis."""
    left_out = runs.shape[-1] // 4
    return np.sort(runs)[..., left_out : runs.shape[-1] - left_out].mean(axis=-1)


def probability_above(ours: Sequence[ArrayLike], theirs: Sequence[ArrayLike]) -> Estimate:
    """The probability that a run of ours is above one of theirs, a tie counting half: the mean over
    data sets of the Mann-Whitney statistic over the number of pairs.

    Where higher is better it is the probability of improvement. Runs are not paired by seed.

    Args:
        ours, theirs: of each data set, (number of runs,).

    Example:
        >>> probability_above([[0.5, 0.7]], [[0.4, 0.6]]).value
        0.75
    """
    ordered = [[np.sort(to_compare(of_set)) for of_set in runs] for runs in (ours, theirs)]
    above = [
        np.greater.outer(x, y) + 0.5 * np.equal.outer(x, y) for x, y in zip(*ordered, strict=True)
    ]
    value = float(np.mean([pairs.mean() for pairs in above]))
    if min(map(len, [*ordered[0], *ordered[1]])) < UNITS_FOR_AN_INTERVAL:
        return Estimate(value)
    shares = []
    for place, pairs in enumerate(above):
        of_x, of_y = (times_drawn(size, place, side) for side, size in enumerate(pairs.shape))
        shares.append(((of_x @ pairs) * of_y).sum(axis=1) / pairs.size)
    return Estimate(value, *percentile_interval(np.mean(shares, axis=0)))


def to_compare(values: ArrayLike) -> NDArray[np.float64]:
    """Without what the order of additions leaves behind, so that equal numbers are ties."""
    return np.asarray(values, dtype=float).round(12)


@cache
def units_drawn(size: int, place: int = 0) -> NDArray[np.int64]:
    """Which of so many units are in each resample of `times_drawn`, ascending."""
    return np.array([np.repeat(np.arange(size), times) for times in times_drawn(size, place)])


@cache
def times_drawn(size: int, place: int = 0, side: int = 0) -> NDArray[np.int64]:
    """How often each of so many units is in each resample, (resamples, size): always the same for
    the same arguments, and independent for others."""
    generator = np.random.default_rng([size, place, side])
    return generator.multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
