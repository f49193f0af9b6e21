from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from simo_cl.metrics.over_seeds import spread
from simo_cl.report.bootstrap import Estimate
from simo_cl.report.statistics import (
    compare_all_pairs,
    compare_with_control,
    half_width,
    holm,
    paired_t,
    seed_spread,
    wilcoxon,
)
from simo_cl.results import load_suite


def test_spread_uses_n_minus_one_and_has_no_deviation_for_one_seed():
    three = spread([1.0, 2.0, 4.0])
    assert three is not None
    assert three.mean == pytest.approx(7 / 3)
    assert three.std == pytest.approx(np.sqrt(7 / 3))
    one = spread([0.5])
    assert one is not None
    assert one.std is None
    assert spread([]) is None


def test_the_interval_of_a_mean_is_students():
    values = [0.51, 0.55, 0.49, 0.58, 0.52]
    over_seeds = spread(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert over_seeds.mean - half_width(over_seeds) == pytest.approx(low)
    assert over_seeds.mean + half_width(over_seeds) == pytest.approx(high)
    assert half_width(spread([0.5])) is None


def test_a_metric_that_a_seed_lacks_has_no_mean(make_suite):
    folder = make_suite(strategies=("er",))
    path = folder / "runs/er/seed0-1a2b3c4d/metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    del rows[-1]["metrics"]["forgetting"]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    suite = load_suite(folder)
    assert seed_spread(suite, "er", "forgetting") is None
    assert seed_spread(suite, "er", "average_accuracy") is not None


def test_paired_t_matches_a_worked_example():
    # Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(2 df, 97.5 %) = 4.302653.
    low, high, p = paired_t([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.302653 / np.sqrt(3), abs=1e-6)
    assert high == pytest.approx(2 + 4.302653 / np.sqrt(3), abs=1e-6)
    assert p == pytest.approx(0.0741799, abs=1e-6)


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, 0.1, 0.1]])
def test_paired_t_is_undefined_without_variation(differences):
    with pytest.raises(ValueError, match="seed"):
        paired_t(differences)


def test_holm_matches_a_worked_example_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_that_of_statsmodels(seed):
    p_values = np.random.default_rng(seed).beta(0.3, 2, size=9).round(2)  # with ties
    assert holm(list(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_paired_t_is_scipys_on_the_pairs():
    ours = np.array([0.61, 0.64, 0.58, 0.66, 0.63])
    theirs = np.array([0.57, 0.61, 0.57, 0.60, 0.62])
    reference = stats.ttest_rel(ours, theirs)
    low, high, p = paired_t(list(ours - theirs))
    assert p == pytest.approx(reference.pvalue)
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_wilcoxon_waits_for_ten_seeds_and_is_exact():
    assert wilcoxon([0.1 * i for i in range(1, 10)]) is None
    # All ten of one sign: 2 of the 2^10 assignments of signs are as extreme.
    assert wilcoxon([0.1 * i for i in range(1, 11)]) == pytest.approx(2 / 2**10)


def test_differences_of_one_size_share_their_rank():
    ours = np.array([0.31, 0.30, 0.51, 0.50, 0.71, 0.70, 0.21, 0.22, 0.93, 0.94])
    differences = ours - np.array([0.30, 0.31, 0.50, 0.51, 0.70, 0.71, 0.20, 0.21, 0.92, 0.93])
    assert len(set(np.abs(differences))) > 1
    # Seven of ten, all of one size.
    assert wilcoxon(differences) == wilcoxon([1.0, -1.0] * 3 + [1.0] * 4)


def test_wilcoxon_stands_beside_the_t_test_and_is_corrected_likewise(make_suite):
    strategies = ("finetune", "er", "simo")
    compared = compare_with_control(load_suite(make_suite(strategies=strategies, seeds=range(10))))
    assert [c.p_wilcoxon_holm for c in compared] == holm([c.p_wilcoxon for c in compared])
    assert compared[0].p_wilcoxon == pytest.approx(2 / 2**10)


def test_five_seeds_have_no_wilcoxon(make_suite):
    (compared,) = compare_with_control(
        load_suite(make_suite(strategies=("er", "simo"), seeds=range(5)))
    )
    assert compared.p is not None
    assert (compared.p_wilcoxon, compared.p_wilcoxon_holm) == (None, None)


def test_all_pairs_are_corrected_over_all_pairs(make_suite):
    suite = load_suite(make_suite(strategies=("finetune", "er", "simo", "supcon"), seeds=range(4)))
    pairs = compare_all_pairs(suite, suite.streamed_labels)
    assert [(c.label, c.control) for c in pairs][:3] == [
        ("finetune", "er"),
        ("finetune", "simo"),
        ("finetune", "supcon"),
    ]
    assert len(pairs) == 6
    assert [c.p_holm for c in pairs] == holm([c.p for c in pairs])


def test_comparisons_pair_by_seed_and_leave_out_control_and_joint(make_suite):
    suite = load_suite(
        make_suite(strategies=("joint", "finetune", "er", "simo"), missing=[("simo", 1)])
    )
    finetune, simo = compare_with_control(suite)
    assert (finetune.label, simo.label) == ("finetune", "simo")
    assert simo.seeds == (0, 2)
    ours, control = suite.values("simo", "average_accuracy"), suite.values("er", "average_accuracy")
    expected = np.mean([ours[0] - control[0], ours[2] - control[2]])
    assert simo.difference == pytest.approx(expected)
    assert finetune.verdict == "below"
    assert finetune.p is not None
    assert finetune.p_holm is not None
    assert finetune.p <= finetune.p_holm <= 1


def test_one_seed_gives_a_difference_and_no_verdict(make_suite):
    suite = load_suite(make_suite(strategies=("finetune", "er"), seeds=(0,)))
    (finetune,) = compare_with_control(suite)
    assert finetune.difference is not None
    assert finetune.difference < -0.1
    assert (finetune.low, finetune.high, finetune.p, finetune.p_holm) == (None,) * 4
    assert finetune.probability_above is None
    assert (finetune.verdict, finetune.reason) == ("untested", "one seed")


def test_the_probability_above_the_control_is_of_the_shared_seeds(make_suite):
    suite = load_suite(make_suite(strategies=("er", "simo"), seeds=range(6), missing=[("simo", 1)]))
    (simo,) = compare_with_control(suite)
    ours, theirs = (suite.values(label, "average_accuracy") for label in ("simo", "er"))
    shared = [theirs[seed] for seed in ours]
    statistic = stats.mannwhitneyu(list(ours.values()), shared).statistic
    found = simo.probability_above
    assert found.value == pytest.approx(statistic / 25)
    assert found.low < found.value < found.high


def test_three_seeds_have_a_probability_without_an_interval(make_suite):
    strategies = ("finetune", "er")
    (three,) = compare_with_control(load_suite(make_suite(strategies=strategies)))
    assert three.probability_above == Estimate(0.0)


def test_without_a_common_seed_there_is_no_difference(make_suite):
    suite = load_suite(
        make_suite(strategies=("er", "simo"), seeds=(0, 1), missing=[("er", 0), ("simo", 1)])
    )
    (simo,) = compare_with_control(suite)
    assert simo.difference is None
    assert simo.reason == "no seed in common with er"


def test_a_metric_that_the_control_lacks_is_not_for_want_of_seeds(make_suite):
    suite = load_suite(make_suite(strategies=("er", "simo"), seeds=(0, 1)))
    (simo,) = compare_with_control(suite, "embedding/collapse/effective_rank")
    assert simo.difference is None
    assert simo.reason == "no shared seed has embedding/collapse/effective_rank"


def test_without_a_control_nothing_is_compared(make_suite):
    assert compare_with_control(load_suite(make_suite(control=None))) == []


def test_a_row_that_no_control_fits_says_so(make_suite):
    folder = make_suite(strategies=("er", "simo"), variants=("memory.size=200",))
    plan = (folder / "plan.json").read_text()
    plan = plan.replace('"memory.size=200"', '"memory.size=500"', plan.count('"er"') - 1)
    (folder / "plan.json").write_text(plan)
    found = compare_with_control(load_suite(folder))
    reasons = {comparison.label: comparison.reason for comparison in found}
    assert reasons == {"simo[memory.size=200]": "no er has its settings"}
