from __future__ import annotations

import json

import pytest

from simo_cl.report.checks import checks
from simo_cl.report.settings import compare_environments, compare_settings
from simo_cl.results import load_suite, merge_suites


def checks_in_order(suite):
    return checks(suite, compare_settings(suite), compare_environments(suite))


def checks_of(folder):
    return {check.title: check for check in checks_in_order(load_suite(folder))}


def edit_final_metrics(folder, strategy, **changes) -> None:
    for path in (folder / "runs" / strategy).glob("*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[-1]["metrics"] |= changes
        path.write_text("\n".join(json.dumps(row) for row in rows))


def rank(value: float, dimension: int = 128) -> dict[str, float]:
    name = "embedding/collapse/effective_rank"
    return {name: value, f"{name}_share": value / dimension}


@pytest.mark.parametrize(
    ("value", "dimension", "classes", "state", "shown"),
    [
        (1.2, 128, 10, "bad", "1.2 of 10"),
        (2.9, 128, 10, "bad", "2.9 of 10"),
        (4.2, 128, 10, "caution", "4.2 of 10"),
        (9.1, 128, 10, "good", "9.1 of 10"),
        (31.0, 128, 10, "good", "31.0, 10 asked for"),
        (2.9, 3, 10, "good", "2.9 of 3"),
        (2.9, 128, 4, "good", "2.9 of 4"),
        (20.0, 128, 100, "bad", "20.0 of 100"),
        (50.0, 64, 100, "good", "50.0 of 64"),
    ],
)
def test_a_loss_space_is_judged_by_what_it_can_reach(
    make_suite, value, dimension, classes, state, shown
):
    folder = make_suite(
        strategies=("er", "simo"), seeds=(0,), classes=classes, experiences=2, sample=4
    )
    edit_final_metrics(folder, "simo", **rank(value, dimension))
    titles = {
        "bad": "Collapsed loss space",
        "caution": "Loss space of low rank",
        "good": "Loss spaces of full rank",
    }
    found = checks_of(folder)
    assert found[titles[state]].state == state
    assert f"effective rank {shown}" in found[titles[state]].detail
    assert len(set(titles.values()) & set(found)) == 1


def test_class_means_in_one_direction_are_a_collapse(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    name = "embedding/orthogonality/mean_abs_cos"
    edit_final_metrics(folder, "simo", **rank(9.0), **{name: 0.97})
    detail = checks_of(folder)["Collapsed loss space"].detail
    assert detail == "simo (effective rank 9.0 of 10, mean |cos| of class means 0.97)."


def test_equal_budgets_are_given_as_a_range_with_who_has_more_and_why(make_suite):
    folder = make_suite(strategies=("er", "simo", "icarl", "der"), seeds=(0,))
    for strategy in ("er", "simo", "icarl", "der"):
        images = 10_912 if strategy == "icarl" else 10_848
        edit_final_metrics(folder, strategy, **{"cost/images": images, "cost/steps": 339})
    assert checks_of(folder)["Equal budgets"].detail == (
        "339 steps and 10,848 to 10,912 images a run. More than 10,848 images: icarl (iCaRL "
        "forwards its first batch two more times, to learn the sizes of its outputs)."
    )


def test_sound_runs_pass_every_check_but_the_copy_of_the_data(make_suite):
    found = checks_of(make_suite(seeds=range(5)))
    assert {check.title for check in found.values() if check.state != "good"} == {
        "CIFAR-10, JPEG copy"
    }
    assert "Equal budgets" in found
    assert "Joint training bounds the stream from above" in found
    assert "0.20" in found["Fine-tuning bounds it from below"].detail


def test_five_seeds_that_two_rows_do_not_share_are_not_paired(make_suite):
    rows = ("er", "simo")
    missing = [("er", seed) for seed in range(5)] + [("simo", seed) for seed in range(5, 10)]
    found = checks_of(make_suite(strategies=rows, seeds=range(10), missing=missing))
    assert found["5 seeds a strategy"].state == "caution"
    assert found["5 seeds a strategy"].detail.startswith("Not all of the same ones")


def test_what_a_reviewer_would_object_to_is_said(make_suite):
    folder = make_suite(
        strategies=("joint", "finetune", "er", "simo"),
        failed=[("simo", 1)],
        missing=[("er", 2)],
    )
    edit_final_metrics(folder, "joint", average_accuracy=0.2)
    edit_final_metrics(folder, "finetune", average_accuracy=0.9)
    edit_final_metrics(folder, "simo", **rank(1.1), **{"cost/images": 1e6})
    found = checks_of(folder)
    assert found["10 of 12 planned runs finished"].detail == (
        "1 failed, 1 not run. The means of simo are of the runs that survived."
    )
    assert found["simo has a higher mean than joint training"].state == "bad"
    assert any(title.endswith("has no higher mean than fine-tuning") for title in found)
    assert found["Collapsed loss space"].detail == "simo (effective rank 1.1 of 10)."
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


def test_bounds_are_known_by_their_strategies(make_suite):
    named = checks_of(make_suite(built_by={"joint": "simo", "finetune": "er"}))
    assert "Joint training bounds the stream from above" not in named
    assert "Fine-tuning bounds it from below" not in named


def test_one_setting_that_differs_is_one(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    path = folder / "runs/er/seed0-1a2b3c4d/config.yaml"
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 5"))
    assert checks_of(folder)["1 shared setting differs"].detail == "training.epochs."


def test_numbers_are_compared_within_a_data_set(write_suite_at, tmp_path):
    one = write_suite_at(tmp_path / "one", strategies=("joint", "finetune", "er", "simo"))
    small = {"data": "digits", "experiences": 2, "classes": 4, "sample": 4}
    two = write_suite_at(tmp_path / "two", strategies=("finetune", "simo"), **small)
    edit_final_metrics(two, "simo", average_accuracy=1.0, **rank(3.9), **{"cost/images": 1e6})
    edit_final_metrics(two, "finetune", average_accuracy=0.1, **{"cost/images": 1e6})
    found = checks_in_order(merge_suites([load_suite(one), load_suite(two)]))
    said = [(check.state, check.title, check.detail.partition(": ")[0]) for check in found]
    photos = "CIFAR-10, JPEG copy"
    assert [each for each in said if each[2] in (photos, "digits")] == [
        ("good", "Equal budgets", photos),
        ("good", "Equal budgets", "digits"),
        ("good", "Joint training bounds the stream from above", photos),
        ("good", "Fine-tuning bounds it from below", photos),
        ("good", "Fine-tuning bounds it from below", "digits"),
        ("good", "Loss spaces of full rank", photos),
        ("good", "Loss spaces of full rank", "digits"),
    ]
    (lossy,) = (check.title for check in found if "lossy" in check.detail)
    assert lossy == photos
    details = [check.detail for check in found if check.title.startswith("Fine-tuning")]
    assert [text[-4:-1] for text in details] == [".20", ".50"]
    ranks = [check.detail for check in found if check.title.startswith("Loss spaces")]
    assert "3.9 of 4 (simo[suite=two])" in ranks[1]
