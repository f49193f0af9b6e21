from __future__ import annotations

import json

import pytest

from simo_cl.report.findings import checks, headline
from simo_cl.report.load import load_suite
from simo_cl.report.statistics import compare_with_control


def headline_of(folder):
    suite = load_suite(folder)
    return headline(suite, compare_with_control(suite))


def checks_of(folder):
    return {check.title: check for check in checks(load_suite(folder))}


def edit_final_metrics(folder, strategy, **changes) -> None:
    for path in (folder / "runs" / strategy).glob("*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[-1]["metrics"] |= changes
        path.write_text("\n".join(json.dumps(row) for row in rows))


def test_the_headline_names_who_ends_above_the_control_and_by_how_much(make_suite):
    folder = make_suite(strategies=("finetune", "er", "simo"), seeds=range(5))
    found = headline_of(folder)
    assert found.title.startswith("simo ends 0.02")
    assert found.title.endswith("above er in average accuracy")
    assert "5 shared seeds" in found.basis
    assert "Holm for 2 comparisons" in found.basis


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
            "No strategy shares a finished seed",
        ),
    ],
)
def test_the_headline_without_a_control(make_suite, options, reason):
    assert reason in headline_of(make_suite(**options)).basis


def test_sound_runs_pass_every_check_but_the_copy_of_the_data(make_suite):
    found = checks_of(make_suite(seeds=range(5)))
    assert {check.title for check in found.values() if check.state != "good"} == {
        "CIFAR-10, JPEG copy"
    }
    assert "Equal budgets" in found
    assert "Joint training bounds the stream from above" in found
    assert "0.20" in found["Fine-tuning bounds it from below"].detail


def test_what_a_reviewer_would_object_to_is_said(make_suite):
    folder = make_suite(
        strategies=("joint", "finetune", "er", "simo"),
        failed=[("simo", 1)],
        missing=[("er", 2)],
    )
    edit_final_metrics(folder, "joint", average_accuracy=0.2)
    edit_final_metrics(folder, "finetune", average_accuracy=0.9)
    edit_final_metrics(
        folder, "simo", **{"embedding/collapse/effective_rank": 1.1, "cost/images": 1e6}
    )
    found = checks_of(folder)
    assert found["10 of 12 planned runs finished"].detail == "1 failed, 1 not run."
    assert found["simo beats joint training"].state == "bad"
    assert any(title.endswith("does not beat fine-tuning") for title in found)
    assert found["Collapsed loss space"].detail == "simo (effective rank 1.1)."
    assert "1,000,000 (simo)" in found["Unequal budgets"].detail
    assert found["2 to 3 seeds a strategy"].state == "caution"


def test_a_grid_is_not_a_difference_in_protocol(make_suite):
    found = checks_of(
        make_suite(
            strategies=("er", "simo"), variants=("memory.size=200", "memory.size=500"), seeds=(0,)
        )
    )
    assert found["One protocol"].state == "good"
    assert found["One seed"].state == "bad"


def test_the_validation_split_is_named(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,))
    path = folder / "runs/er/seed0-1a2b3c4d/config.yaml"
    path.write_text(path.read_text().replace("evaluate_on: test", "evaluate_on: validation"))
    assert "Scored on the validation split" in checks_of(folder)
