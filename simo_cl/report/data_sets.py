"""Strategies over several data sets, each of a suite of its own.

Mean ranks, and which of them differ, after J. Demšar, Statistical comparisons of classifiers over
multiple data sets, JMLR 7, 2006: in each data set strategies are ranked by their mean over seeds;
Friedman's test says whether the mean ranks differ at all, Nemenyi's which of them do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from simo_cl.metrics.described import direction_of
from simo_cl.report.bootstrap import (
    Estimate,
    interquartile_mean,
    probability_above,
    to_compare,
)
from simo_cl.report.statistics import ALPHA, PRIMARY_METRIC
from simo_cl.results import Suite


@dataclass(frozen=True)
class Standing:
    """One strategy over all data sets.

    Attributes:
        label: of its row in each suite; `row` is that of the first one.
        runs: in all of them.
        above: the probability of a run above one of the control's; None for the control itself.
        mean_rank: 1 is the best.
    """

    label: str
    row: str
    runs: int
    interquartile_mean: Estimate
    above: Estimate | None
    mean_rank: float


@dataclass(frozen=True)
class Ranking:
    """The strategies on the stream that every data set has, in the first one's order.

    Attributes:
        friedman: p of Friedman's test that all mean ranks are the same; None for two strategies.
        critical: the difference of mean ranks beyond which Nemenyi's test tells two apart.
    """

    data_sets: tuple[str, ...]
    control: str | None
    standings: tuple[Standing, ...]
    friedman: float | None
    critical: float

    @property
    def tells_apart(self) -> bool:
        """Whether Friedman's test says that mean ranks differ."""
        return self.friedman is None or self.friedman < ALPHA

    @property
    def not_told_apart(self) -> list[tuple[Standing, ...]]:
        """The largest groups within the critical difference, best first; all are one group where
        Friedman's test tells nothing apart."""
        ordered = sorted(self.standings, key=lambda standing: standing.mean_rank)
        reach = self.critical if self.tells_apart else np.inf
        groups: list[tuple[Standing, ...]] = []
        for place, best in enumerate(ordered):
            group = tuple(s for s in ordered[place:] if s.mean_rank - best.mean_rank <= reach)
            if len(group) > 1 and not (groups and group[-1] in groups[-1]):
                groups.append(group)
        return groups


def rank_over_data_sets(suite: Suite, metric: str = PRIMARY_METRIC) -> Ranking | None:
    """Ranks the strategies by a final metric.

    Returns:
        None unless it is of several suites, each of other data, with two strategies in common that
        have the metric.
    """
    rows: dict[str, dict[str, str]] = {}
    data = {}
    for run in suite.runs:
        if run.source is not None:
            data[run.source.suite] = run.source.data
            if run.label in suite.streamed_labels and suite.values(run.label, metric):
                rows.setdefault(run.source.suite, {})[run.source.label] = run.label
    if len(data) < 2 or len(set(data.values())) < len(data) or len(rows) < len(data):
        return None
    first, *others = rows.values()
    labels = [label for label in first if all(label in other for other in others)]
    if len(labels) < 2:
        return None
    values = {
        label: [list(suite.values(of_suite[label], metric).values()) for of_suite in rows.values()]
        for label in labels
    }
    means = to_compare([[np.mean(runs) for runs in values[label]] for label in labels])
    best_first = means if direction_of(metric) == "down" else -means
    ranks = stats.rankdata(best_first, axis=0).mean(axis=1)
    control = suite.control if suite.control in labels else None
    standings = tuple(
        Standing(
            label,
            first[label],
            sum(map(len, runs)),
            interquartile_mean(runs),
            probability_above(runs, values[control]) if control not in (None, label) else None,
            float(rank),
        )
        for (label, runs), rank in zip(values.items(), ranks, strict=True)
    )
    friedman = float(stats.friedmanchisquare(*means).pvalue) if len(labels) > 2 else None
    names = tuple(name for name, _ in data.values())
    critical = critical_difference(len(labels), len(names))
    return Ranking(names, control, standings, friedman, critical)


def critical_difference(strategies: int, data_sets: int) -> float:
    """Nemenyi's, of mean ranks, at a level of 0.05: ``q sqrt(k (k + 1) / (6 N))`` with q the
    studentized range of k strategies and infinite degrees of freedom over the root of 2.

    Args:
        strategies: k, 2 or more.
        data_sets: N.

    Example:
        >>> round(critical_difference(strategies=4, data_sets=14), 2)
        1.25
    """
    q = stats.studentized_range.isf(ALPHA, strategies, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(strategies * (strategies + 1) / (6 * data_sets)))
