from __future__ import annotations

import json

import numpy as np
import pytest

from simo_cl.report.load import load_suite
from simo_cl.report.statistics import (
    compare_with_control,
    holm,
    paired_t,
    seed_spread,
    spread,
)


def test_spread_uses_n_minus_one_and_has_no_deviation_for_one_seed():
    three = spread([1.0, 2.0, 4.0])
    assert three is not None
    assert three.mean == pytest.approx(7 / 3)
    assert three.std == pytest.approx(np.sqrt(7 / 3))
    one = spread([0.5])
    assert one is not None
    assert one.std is None
    assert spread([]) is None


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
    assert (finetune.verdict, finetune.reason) == ("untested", "one seed")


def test_without_a_common_seed_there_is_no_difference(make_suite):
    suite = load_suite(
        make_suite(strategies=("er", "simo"), seeds=(0, 1), missing=[("er", 0), ("simo", 1)])
    )
    (simo,) = compare_with_control(suite)
    assert simo.difference is None
    assert simo.reason == "no seed in common with er"


def test_without_a_control_nothing_is_compared(make_suite):
    assert compare_with_control(load_suite(make_suite(control=None))) == []
