"""Whether runs with more of one metric have more of another, within strategies and between them.

Over all runs a metric may go with accuracy for no other reason than that the strategies differ in
both. Within strategies it goes with accuracy from run to run of the same one; between strategies,
from one strategy's mean to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simo_cl.report.bootstrap import UNITS_FOR_AN_INTERVAL, percentile_interval, times_drawn

Level = Literal["all runs", "within strategies", "between strategies"]


@dataclass(frozen=True)
class RankCorrelation:
    """One level's correlation.

    Attributes:
        correlation: in [-1, 1]; None where it is not defined.
        low, high: the ends of the 95 % percentile interval over resamples of seeds (within
            strategies) or of strategies (else), of which it needs five.
        runs, strategies: how many it is over.
    """

    level: Level
    correlation: float | None
    low: float | None
    high: float | None
    runs: int
    strategies: int


def partial_rank_correlation(
    x: ArrayLike, y: ArrayLike, given: ArrayLike | None = None, groups: ArrayLike | None = None
) -> float:
    """Spearman's rank correlation of two quantities with others, and groups, held fixed.

    All are brought to ranks, ties sharing theirs; what a linear function of the others' ranks and
    of the group explains is taken away from both, and what is left is correlated. Without others
    and groups it is Spearman's.

    Args:
        x, y: (N,).
        given: (N, k), the others.
        groups: (N,), names or numbers.

    Returns:
        In [-1, 1]; NaN if the others and the groups explain all of x or y.

    Source: partial Spearman correlation as in pingouin's ``partial_corr(method="spearman")``, the
    groups as indicator variables.

    Example:
        >>> x, y = [1, 2, 11, 12], [4, 3, 8, 7]
        >>> round(partial_rank_correlation(x, y), 3)
        0.6
        >>> round(partial_rank_correlation(x, y, groups=["a", "a", "b", "b"]), 3)
        -1.0
    """
    values = np.column_stack([x, y, *([] if given is None else [given])])
    of_group = np.zeros(len(values)) if groups is None else np.asarray(groups)
    return float(_of_resamples(values, of_group, np.ones((1, len(values))))[0])


def rank_correlations(
    x: ArrayLike,
    y: ArrayLike,
    strategies: Sequence[str],
    seeds: Sequence[int],
    given: ArrayLike | None = None,
) -> list[RankCorrelation]:
    """Over all runs, within strategies, and between them.

    Within strategies the strategy is held fixed, and the interval is over resamples of seeds, whose
    runs share class order and initial weights and so stay together. Between strategies means over
    their runs are correlated, and the interval is over resamples of strategies, as it is over all
    runs.

    Args:
        x, y: (N,), of N runs.
        strategies, seeds: (N,), theirs.
        given: (N, k), what else is held fixed.
    """
    values = np.column_stack([x, y, *([] if given is None else [given])]).astype(float)
    names, of_strategy = np.unique(np.asarray(strategies), return_inverse=True)
    means = np.array([values[of_strategy == k].mean(axis=0) for k in range(len(names))])
    together = np.zeros(len(values))
    levels: list[tuple[Level, NDArray[np.float64], ArrayLike, ArrayLike]] = [
        ("all runs", values, together, of_strategy),
        ("within strategies", values, of_strategy, seeds),
        ("between strategies", means, together[: len(means)], np.arange(len(means))),
    ]
    return [
        RankCorrelation(level, *_with_interval(of_level, groups, units), len(values), len(names))
        for level, of_level, groups, units in levels
    ]


def _with_interval(
    values: NDArray[np.float64], groups: ArrayLike, units: ArrayLike
) -> tuple[float | None, float | None, float | None]:
    """The correlation and the ends of its interval, over resamples of the units (N,) that the rows
    (N, 2 + k) are of."""
    found = partial_rank_correlation(values[:, 0], values[:, 1], values[:, 2:], groups)
    if np.isnan(found) or len(values) < 3:
        return None, None, None
    names, unit_of_row = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < UNITS_FOR_AN_INTERVAL:
        return found, None, None
    times = times_drawn(len(names))[:, unit_of_row]
    return found, *percentile_interval(_of_resamples(values, groups, times))


def _of_resamples(
    values: NDArray[np.float64], groups: ArrayLike, times: NDArray[Any]
) -> NDArray[np.float64]:
    """Partial rank correlations (R,) of resamples.

    Args:
        values: (N, 2 + k): x, y and what is held fixed.
        groups: (N,).
        times: (R, N), how often each row is in each resample.
    """
    names, of_group = np.unique(np.asarray(groups), return_inverse=True)
    ranks = np.stack([_ranks(column, times) for column in values.T], axis=2)
    weighted = times[:, :, None] * ranks
    indicators = (of_group == np.arange(len(names))[:, None]).astype(float)
    # A group that is not in a resample has no row in it.
    means = indicators @ weighted / np.maximum(times @ indicators.T, 1)[:, :, None]
    around_mean = np.sqrt(times)[:, :, None] * (ranks - means[:, of_group])
    both, others = around_mean[:, :, :2], around_mean[:, :, 2:]
    left = both - others @ (np.linalg.pinv(others) @ both)
    norms = np.linalg.norm(left, axis=1)
    explained = (norms <= 1e-9 * len(values)).any(axis=1)
    norms[explained] = np.nan
    return np.clip(left.prod(axis=2).sum(axis=1) / norms.prod(axis=1), -1, 1)


def _ranks(column: NDArray[np.float64], times: NDArray[Any]) -> NDArray[np.float64]:
    """The ranks (R, N) from 1 of a column (N,) in each resample, ties sharing theirs."""
    order = np.argsort(column, kind="stable")
    _, starts, level_of_row = np.unique(column[order], return_index=True, return_inverse=True)
    of_level = np.add.reduceat(times[:, order], starts, axis=1)
    ranks = of_level.cumsum(axis=1) - (of_level - 1) / 2
    found = np.empty(times.shape)
    found[:, order] = ranks[:, level_of_row]
    return found
