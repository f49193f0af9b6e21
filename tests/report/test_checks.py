from __future__ import annotations

import json

from simo_cl.report.checks import checks
from simo_cl.report.load import load_suite


def checks_of(folder):
    return {check.title: check for check in checks(load_suite(folder))}


def edit_final_metrics(folder, strategy, **changes) -> None:
    for path in (folder / "runs" / strategy).glob("*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[-1]["metrics"] |= changes
        path.write_text("\n".join(json.dumps(row) for row in rows))


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
    assert found["10 of 12 planned runs finished"].detail == (
        "1 failed, 1 not run. The means of simo are of the runs that survived."
    )
    assert found["simo has a higher mean than joint training"].state == "bad"
    assert any(title.endswith("has no higher mean than fine-tuning") for title in found)
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
