"""Means over seeds, and paired comparisons with the suite's control.

One control is named in advance in the suite. Every strategy that learns the stream is compared
with it on the seeds that both have finished: a paired t interval with n - 1 degrees of freedom,
and Holm's correction over those comparisons alone. One seed gives a difference and nothing more.
Wilcoxon's test, which supposes less, is beside it from ten seeds on: its smallest p is 2^(1 - n),
so that with five seeds it can never fall below 0.0625. The probability that a run of one is above a
run of the other says how often the difference would be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import special, stats

from simo_cl.metrics.over_seeds import Spread, spread
from simo_cl.report.bootstrap import CONFIDENCE, Estimate, probability_above, to_compare
from simo_cl.results import Suite

PRIMARY_METRIC = "average_accuracy"
ALPHA = 0.05
SEEDS_FOR_WILCOXON = 10

Verdict = Literal["above", "below", "not told apart", "untested"]


@dataclass(frozen=True)
class Comparison:
    """One row against the control, on the seeds both have finished.

    Attributes:
        difference: mean over seeds of the row's value minus the control's.
        low, high: the 95 % paired t interval of the difference, for this comparison alone.
        p: two-sided paired t test; `p_holm`: adjusted over all comparisons with the control.
        p_wilcoxon: two-sided Wilcoxon signed-rank test, from `SEEDS_FOR_WILCOXON` seeds on;
            `p_wilcoxon_holm` adjusted likewise. No verdict rests on it.
        probability_above: that a run of the row is above a run of the control, whatever their
            seeds; of accuracy it is the probability of improvement. See
            `bootstrap.probability_above`.
        verdict: "above" or "below" if `p_holm` < `ALPHA`, "not told apart" otherwise, and
            "untested" where no test is defined; `reason` then says why.
    """

    label: str
    control: str
    seeds: tuple[int, ...]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_wilcoxon: float | None = None
    p_wilcoxon_holm: float | None = None
    probability_above: Estimate | None = None
    verdict: Verdict = "untested"
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def half_width(over_seeds: Spread) -> float | None:
    """Half the 95 % t interval of the mean, n - 1 degrees of freedom; None with one seed."""
    if over_seeds.std is None:
        return None
    return _quantile(over_seeds.count) * over_seeds.std / math.sqrt(over_seeds.count)


def _quantile(seeds: int) -> float:
    """Of Student's t, which an interval over so many seeds reaches to."""
    return float(special.stdtrit(seeds - 1, (1 + CONFIDENCE) / 2))


def seed_spread(suite: Suite, label: str, metric: str) -> Spread | None:
    """Mean and deviation of a final metric over a row's finished seeds; None unless all have it."""
    return spread([run.final.get(metric) for run in suite.finished(label)])


def seed_curve(suite: Suite, label: str, metric: str) -> list[tuple[int, Spread]]:
    """A metric over a row's trained experiences, each with its mean and deviation over seeds.

    Experiences in which a finished seed lacks the metric are left out, as in `seed_spread`.
    """
    by_run = [
        {trained.experience: trained.metrics.get(metric) for trained in run.history}
        for run in suite.finished(label)
    ]
    spreads = {
        experience: spread([values.get(experience) for values in by_run])
        for experience in sorted({experience for values in by_run for experience in values})
    }
    return [(experience, found) for experience, found in spreads.items() if found is not None]


def compare_with_control(suite: Suite, metric: str = PRIMARY_METRIC) -> list[Comparison]:
    """Compare every row that learns the stream with the suite's control.

    Joint rows see all classes at once: they bound the others and take no part in the tests.

    Returns:
        A comparison a row, in the plan's order, without numbers where no row of the control fits;
        empty if the suite names no control, or has no row of it.
    """
    if suite.control is None:
        return []
    counterparts = {label: suite.counterpart(label, suite.control) for label in suite.labels}
    if not any(counterparts.values()):
        return []
    compared = []
    for label in suite.streamed_labels:
        control = counterparts[label]
        if control is None:
            why = suite.why_alone(label, suite.control)
            compared.append(Comparison(label, suite.control, (), reason=why))
        elif control != label and not suite.is_joint(control):
            compared.append(compare(suite, label, control, metric))
    return _with_holm(compared)


def compare(suite: Suite, label: str, control: str, metric: str) -> Comparison:
    """One row against another on their shared finished seeds; `p_holm` is left to the caller."""
    if not suite.same_data(label, control):
        return Comparison(label, control, (), reason=f"{control} is of other data")
    ours, theirs = suite.values(label, metric), suite.values(control, metric)
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        common = {run.seed for run in suite.finished(label)} & {
            run.seed for run in suite.finished(control)
        }
        why = f"no shared seed has {metric}" if common else f"no seed in common with {control}"
        return Comparison(label, control, seeds, reason=why)
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    comparison = Comparison(label, control, seeds, difference=float(np.mean(differences)))
    if len(seeds) == 1:
        return replace(comparison, reason="one seed")
    above = probability_above([[ours[seed] for seed in seeds]], [[theirs[seed] for seed in seeds]])
    comparison = replace(comparison, probability_above=above)
    try:
        low, high, p = paired_t(differences)
    except ValueError as error:
        return replace(comparison, reason=str(error))
    return replace(comparison, low=low, high=high, p=p, p_wilcoxon=wilcoxon(differences))


def standard_error(comparison: Comparison) -> float:
    """Of a tested comparison's mean difference, as its interval has it."""
    assert comparison.low is not None
    assert comparison.high is not None
    return (comparison.high - comparison.low) / (2 * _quantile(len(comparison.seeds)))


def compare_all_pairs(suite: Suite, labels: Sequence[str]) -> list[Comparison]:
    """Every row against every later one, Holm's correction over all these pairs."""
    pairs = combinations(labels, 2)
    return _with_holm([compare(suite, a, b, PRIMARY_METRIC) for a, b in pairs])


def paired_t(differences: Sequence[float]) -> tuple[float, ...]:
    """Two-sided paired t test of differences, one a seed, against zero.

    Returns:
        Lower and upper end of the 95 % interval, and the p value.

    Raises:
        ValueError: fewer than two differences, or no variation between them, where t is undefined.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"a t interval needs at least 2 seeds, got {len(values)}")
    if np.ptp(values) <= 1e-12:
        raise ValueError("the difference is the same for every seed, so t is undefined")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    reach = _quantile(len(values)) * error
    return mean - reach, mean + reach, float(2 * special.stdtr(len(values) - 1, -abs(mean / error)))


def wilcoxon(differences: Sequence[float]) -> float | None:
    """Two-sided Wilcoxon signed-rank p of differences, exact without ties; None for few seeds."""
    if len(differences) < SEEDS_FOR_WILCOXON:
        return None
    return float(stats.wilcoxon(to_compare(differences)).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p values, in the given order (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    adjusted = [1.0] * count
    so_far = 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = so_far
    return adjusted


def _with_holm(compared: Sequence[Comparison]) -> list[Comparison]:
    adjusted = _adjusted([c.p for c in compared])
    of_ranks = _adjusted([c.p_wilcoxon for c in compared])
    return [
        replace(c, p_holm=p, p_wilcoxon_holm=ranks, verdict=_verdict(c.difference, p))
        for c, p, ranks in zip(compared, adjusted, of_ranks, strict=True)
    ]


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm over those that there are."""
    tested = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(tested) for p in p_values]


def _verdict(difference: float | None, p: float | None) -> Verdict:
    if difference is None or p is None:
        return "untested"
    if p >= ALPHA:
        return "not told apart"
    return "above" if difference > 0 else "below"
