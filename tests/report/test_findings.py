from __future__ import annotations

import json
from dataclasses import replace

import pytest

from simo_cl.report.findings import _part, headline, summary
from simo_cl.report.statistics import Comparison, compare_with_control
from simo_cl.results import load_suite


def headline_of(folder):
    suite = load_suite(folder)
    return headline(suite, compare_with_control(suite))


def summary_of(folder):
    suite = load_suite(folder)
    return summary(suite, compare_with_control(suite))


def test_the_headline_names_who_ends_above_the_control_and_by_how_much(make_suite):
    folder = make_suite(strategies=("finetune", "er", "simo"), seeds=range(5))
    found = headline_of(folder)
    assert found.title.startswith("simo ends 0.02")
    assert found.title.endswith("above er in average accuracy")
    assert "5 shared seeds" in found.basis
    assert "Holm for 2 comparisons" in found.basis


def with_differences(folder, **by_label):
    """Set the rows' average accuracies to er's, 0.5, plus these, a number a seed."""
    for label, differences in {"er": (0.0, 0.0, 0.0), **by_label}.items():
        for seed, difference in enumerate(differences):
            (path,) = folder.glob(f"runs/{label}/seed{seed}-*/metrics.jsonl")
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            lines[-1]["metrics"]["average_accuracy"] = 0.5 + difference
            path.write_text("\n".join(map(json.dumps, lines)))


def test_the_headline_names_a_tie_that_only_the_spread_over_seeds_sets_apart(make_suite):
    folder = make_suite(strategies=("er", "supcon", "simo", "icarl"))
    with_differences(
        folder,
        simo=(0.032, 0.033, 0.034),
        supcon=(0.003, 0.033, 0.063),
        icarl=(0.0, 0.02, 0.04),
    )
    found = headline_of(folder)
    assert found.title == (
        "supcon (+0.033) and simo (+0.033) end above er in average accuracy; the test bears out "
        "simo alone"
    )
    assert "What keeps supcon from a verdict is its spread over seeds" in found.basis


def test_the_headline_names_one_that_is_ahead_of_all_others(make_suite):
    folder = make_suite(strategies=("er", "supcon", "simo"))
    with_differences(folder, simo=(0.032, 0.033, 0.034), supcon=(-0.01, 0.02, 0.05))
    found = headline_of(folder)
    assert found.title == "simo ends 0.033 above er in average accuracy"
    assert "What keeps" not in found.basis


def test_a_part_whose_interval_leaves_out_zero_says_why_it_is_not_told_apart():
    c = Comparison("simo", "er", (0, 1, 2), 0.01, 0.001, 0.019, 0.04, 0.08)
    unsure = replace(c, verdict="not told apart")
    assert _part(replace(c, verdict="above"), 4) == "+0.010"
    assert _part(replace(unsure, low=-0.001), 4) == "+0.010 (not told apart from 0)"
    assert _part(unsure, 4) == (
        "+0.010 (not told apart from 0 after Holm over 4 strategies, though its own interval "
        "leaves 0 out)"
    )


def test_the_first_two_are_set_side_by_side_over_all_pairs(make_suite):
    folder = make_suite(strategies=("er", "supcon", "simo"))
    with_differences(folder, simo=(0.052, 0.053, 0.054), supcon=(0.0, 0.02, 0.04))
    (found,) = [said for said in summary_of(folder) if "highest mean" in said]
    assert found == (
        "simo has the highest mean on the stream and supcon the next: +0.033 [−0.014, +0.080] "
        "(95 % paired interval over 3 seeds), not told apart after Holm over all 3 pairs."
    )
    assert "All pairs of strategies are tested under" in headline_of(folder).basis


def test_the_first_two_are_not_repeated_where_one_is_the_control(make_suite):
    folder = make_suite(strategies=("er", "supcon", "simo"))
    with_differences(folder, simo=(0.032, 0.033, 0.034), supcon=(-0.01, -0.02, -0.03))
    assert not [said for said in summary_of(folder) if "highest mean" in said]


def test_the_headline_of_one_seed_claims_nothing(make_suite):
    found = headline_of(make_suite(seeds=(0,)))
    assert found.title == "A first look, not yet a result"
    assert "order nothing" in found.basis


def test_the_headline_without_support_says_so(make_suite):
    found = headline_of(make_suite(strategies=("er", "er_balanced", "finetune")))
    assert found.title == "No strategy is shown to end above er in average accuracy"


def test_the_headline_when_the_control_ends_above_all(make_suite):
    found = headline_of(make_suite(strategies=("er", "finetune")))
    assert found.title == "er ends above every strategy tested against it"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"control": None}, "names no control"),
        (
            {"strategies": ("er", "simo"), "failed": [("er", 0), ("er", 1), ("er", 2)]},
            "No run of the control, er, has finished",
        ),
        (
            {"strategies": ("er", "simo"), "missing": [("er", 0), ("simo", 1), ("simo", 2)]},
            "Nothing compares with the control, er (no seed in common with er)",
        ),
        (
            {"strategies": ("joint", "simo"), "control": "joint"},
            "The control, joint, sees all classes at once",
        ),
        ({"strategies": ("er",)}, "No other strategy than the control, er, has finished"),
        ({"strategies": ("simo",)}, "The control, er, was left out of the command"),
    ],
)
def test_the_headline_without_a_control(make_suite, options, reason):
    assert reason in headline_of(make_suite(**options)).basis


def test_an_interval_that_the_corrected_test_does_not_bear_out_is_explained(make_suite):
    folder = make_suite(strategies=("finetune", "er", "icarl", "supcon", "triplet", "simo"))
    suite = load_suite(folder)
    comparisons = compare_with_control(suite)
    loose = [c for c in comparisons if c.verdict == "not told apart" and c.low * c.high > 0]
    assert loose, "the synthetic suite should have such a row"
    assert "An interval stands for its comparison alone" in headline(suite, comparisons).basis


def test_the_summary_says_what_is_missing_before_anything_else(make_suite):
    folder = make_suite(
        strategies=("er", "simo"), seeds=range(5), failed=[("er", 1)], missing=[("simo", 2)]
    )
    assert summary_of(folder)[0] == (
        "2 of 10 planned runs are in no number or figure below: er seed 1 (failed) and simo "
        "seed 2 (not run)."
    )


def test_the_summary_groups_by_verdict_and_orders_nothing_within(make_suite):
    folder = make_suite(strategies=("finetune", "er", "er_balanced", "triplet"))
    suite = load_suite(folder)
    verdicts = {c.label: c.verdict for c in compare_with_control(suite)}
    assert verdicts == {"finetune": "below", "er_balanced": "not told apart", "triplet": "below"}
    groups = summary_of(folder)[0]
    assert groups.startswith("Below er: finetune (−0.2")
    assert " and triplet (−0.0" in groups
    assert groups.endswith("; not told apart from er: er_balanced.")


def test_the_summary_explains_a_difference_by_its_parts(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=range(5))
    (why,) = (text for text in summary_of(folder) if "from learning" in text)
    assert why.startswith("simo's +0.02")
    assert "from what is kept of it" in why


def test_the_summary_gives_the_room_that_joint_training_leaves(make_suite):
    folder = make_suite(strategies=("joint", "er"), seeds=range(3))
    (room,) = (text for text in summary_of(folder) if text.startswith("joint"))
    assert "above er (95 % paired interval)" in room


def test_joint_training_leaves_the_room_whatever_it_is_called(make_suite):
    names = {"joint": "simo", "joint_supcon": "joint"}
    folder = make_suite(strategies=("joint", "joint_supcon", "er"), built_by=names)
    (room,) = (text for text in summary_of(folder) if "the room that" in text)
    assert room.startswith("joint_supcon, with all classes at once")


def test_the_summary_of_one_seed_orders_nothing(make_suite):
    assert summary_of(make_suite(seeds=(0,))) == []


def test_the_summary_without_a_control_still_reads_the_features(make_suite):
    (features,) = summary_of(make_suite(strategies=("er", "simo"), control=None, seeds=range(4)))
    assert features.startswith("On the final features of 2 of the 2 rows")


def test_the_headline_names_a_few_and_counts_the_others(make_suite):
    rows = ("er_balanced", "er_ace", "der", "icarl", "supcon")
    folder = make_suite(strategies=("er", *rows))
    with_differences(folder, **dict.fromkeys(rows, (0.032, 0.033, 0.034)))
    assert headline_of(folder).title == (
        "er_balanced (+0.033), er_ace (+0.033), der (+0.033) and 2 more end above er in average "
        "accuracy"
    )
    with_differences(folder, supcon=(0.003, 0.033, 0.063))
    assert headline_of(folder).title == (
        "er_balanced (+0.033), er_ace (+0.033), der (+0.033) and 2 more end above er in average "
        "accuracy; the test bears out er_balanced, er_ace, der and 1 more alone"
    )


def test_the_headline_of_one_shared_seed_claims_no_more(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1), missing=[("simo", 1)])
    found = headline_of(folder)
    assert found.title == "A first look, not yet a result"
    assert found.basis.startswith("Over the one seed shared with er there is no deviation")
