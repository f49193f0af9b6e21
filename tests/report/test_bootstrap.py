from __future__ import annotations

from collections import Counter
from itertools import product
from math import prod

import numpy as np
import pytest
from scipy import stats

from simo_cl.report.bootstrap import interquartile_mean, probability_above, times_drawn


@pytest.mark.parametrize("sizes", [[1], [3], [4], [10], [3, 5], [7, 7, 7]])
def test_the_interquartile_mean_is_scipy_s_trimmed_mean(sizes: list[int]) -> None:
    random = np.random.default_rng(sum(sizes))
    runs = [random.random(size) for size in sizes]
    expected = stats.trim_mean(np.concatenate(runs), 0.25)
    assert interquartile_mean(runs).value == pytest.approx(expected)


@pytest.mark.parametrize(
    "runs", [[[0.5, 0.8, 0.1, 0.2, 0.9]], [[0.1, 0.5, 0.9, 0.2, 0.7], [0.3, 0.4, 0.6, 0.35, 0.1]]]
)
def test_its_interval_is_that_of_every_resample_within_data_sets(runs: list[list[float]]) -> None:
    """All resamples are equally likely; ours are some of them, drawn at random."""
    of_sets = [
        Counter(tuple(sorted(resample)) for resample in product(of_set, repeat=len(of_set)))
        for of_set in runs
    ]
    every, times = [], []
    for of_all in product(*(of_set.items() for of_set in of_sets)):
        resamples, often = zip(*of_all, strict=True)
        every.append(stats.trim_mean(np.concatenate(resamples), 0.25))
        times.append(prod(often))
    every = np.repeat(every, times)

    found = interquartile_mean(runs)

    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        near = np.quantile(every, [share - 0.01, share + 0.01])
        assert near[0] <= end <= near[1]


def test_the_probability_is_the_mann_whitney_statistic_by_data_set() -> None:
    random = np.random.default_rng(0)
    ours = [np.round(random.random(size), 1) for size in (4, 7)]  # with ties
    theirs = [np.round(random.random(size), 1) for size in (6, 3)]
    expected = [
        stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
        for x, y in zip(ours, theirs, strict=True)
    ]
    assert probability_above(ours, theirs).value == pytest.approx(np.mean(expected))
    assert probability_above(theirs, ours).value == pytest.approx(1 - np.mean(expected))


def test_equal_numbers_are_ties_whatever_the_order_they_were_added_up_in() -> None:
    assert 0.1 + 0.2 != 0.3
    assert probability_above([[0.1 + 0.2]], [[0.3]]).value == 0.5


def test_its_interval_is_scipy_s_unpaired_one() -> None:
    random = np.random.default_rng(1)
    ours, theirs = random.normal(0.5, 1, 12), random.normal(0, 1, 9)

    def share(x, y, axis=-1):
        return (np.expand_dims(x, -1) > np.expand_dims(y, -2)).mean(axis=(-1, -2))

    by_scipy = stats.bootstrap(
        (ours, theirs), share, method="percentile", vectorized=True, random_state=0
    ).confidence_interval

    found = probability_above([ours], [theirs])

    assert found.low == pytest.approx(by_scipy.low, abs=0.02)
    assert found.high == pytest.approx(by_scipy.high, abs=0.02)


def test_the_order_of_the_runs_does_not_matter() -> None:
    random = np.random.default_rng(2)
    ours, theirs = random.random((2, 8)), random.random((2, 8))
    shuffled = ours[:, random.permutation(8)], theirs[:, random.permutation(8)]

    assert interquartile_mean(shuffled[0]) == interquartile_mean(ours)
    assert probability_above(*shuffled) == probability_above(ours, theirs)


def test_few_runs_of_a_data_set_have_no_interval() -> None:
    """Each is resampled by itself: of one run, all resamples are the same."""
    one, four, five = [0.5], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4, 0.5]
    for few in ([four], [one] * 5, [four, four], [five, four]):
        fives = [five] * len(few)
        assert interquartile_mean(few).low is None
        assert probability_above(few, fives).low is None
        assert probability_above(fives, few).low is None
    for enough in ([five], [five, five]):
        assert interquartile_mean(enough).low is not None
        assert probability_above(enough, enough).low is not None


def test_resamples_have_as_many_units_and_are_independent_of_each_other() -> None:
    times = times_drawn(6)
    assert (times.sum(axis=1) == 6).all()
    assert times.mean(axis=0) == pytest.approx(np.ones(6), abs=0.1)
    others = times_drawn(6, 1, 1)
    assert abs(np.corrcoef(times[:, 0], others[:, 0])[0, 1]) < 0.1
