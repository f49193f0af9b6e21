from __future__ import annotations

import json

import numpy as np
import pytest

from simo_cl.report.load import ReportError, load_suite


def test_every_planned_run_is_accounted_for(make_suite):
    folder = make_suite(
        strategies=("er", "simo"),
        failed=[("er", 0)],
        missing=[("er", 1)],
        unfinished=[("simo", 2)],
    )
    suite = load_suite(folder)
    states = {(run.label, run.seed): run.state for run in suite.runs}
    assert states == {
        ("er", 0): "failed",
        ("er", 1): "missing",
        ("er", 2): "finished",
        ("simo", 0): "finished",
        ("simo", 1): "finished",
        ("simo", 2): "running",
    }
    failed = suite.runs[0]
    assert failed.problem == (
        "TrainingDivergedError: the loss became NaN in experience 2, iteration 118"
    )
    assert failed.traceback.startswith("Traceback")
    assert [run.seed for run in suite.finished("simo")] == [0, 1]


def test_a_run_folder_outside_the_plan_is_left_out(make_suite):
    folder = make_suite(strategies=("er", "simo"))
    plan = json.loads((folder / "plan.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["strategy"] == "er"]
    (folder / "plan.json").write_text(json.dumps(plan))
    assert load_suite(folder).labels == ("er",)


def test_a_finished_run_with_torn_files_is_named_broken(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0, 1))
    (folder / "runs/er/seed0-1a2b3c4d/metrics.jsonl").write_text('{"experience": 0, "metr')
    (folder / "runs/er/seed1-1a2b3c4d/metrics.jsonl").write_text("")
    suite = load_suite(folder)
    assert [run.state for run in suite.runs] == ["broken", "broken"]
    assert "metrics.jsonl is empty" in suite.runs[1].problem


def test_undefined_metrics_are_absent(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,))
    path = folder / "runs/er/seed0-1a2b3c4d/metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["metrics"] |= {"forgetting": float("nan"), "features/x": float("inf"), "y": None}
    path.write_text("\n".join(json.dumps(row) for row in rows))
    final = load_suite(folder).runs[0].final
    assert "average_accuracy" in final
    assert not {"forgetting", "features/x", "y"} & final.keys()


def test_joint_runs_are_recognized_by_their_one_row(make_suite):
    suite = load_suite(make_suite(strategies=("er", "joint", "joint_simo")))
    assert [suite.is_joint(label) for label in suite.labels] == [False, True, True]


def test_intransigence_is_measured_against_joint_of_the_same_seed(make_suite):
    suite = load_suite(make_suite(strategies=("joint", "simo"), missing=[("joint", 2)]))
    joint, simo = suite.finished("joint"), suite.finished("simo")
    for upper, run in zip(joint, simo[:2], strict=True):
        expected = np.mean(upper.array("accuracy/own")[0] - np.diag(run.array("accuracy/own")))
        assert run.final["intransigence"] == pytest.approx(expected)
    assert "intransigence" not in simo[2].final
    assert "intransigence" not in joint[0].final


def test_a_grid_row_is_set_beside_the_row_of_its_own_settings(make_suite):
    suite = load_suite(make_suite(strategies=("er", "simo"), variants=("", "memory.size=200")))
    assert suite.counterpart("simo", "er") == "er"
    assert suite.counterpart("simo[memory.size=200]", "er") == "er[memory.size=200]"
    assert suite.counterpart("simo", "er[memory.size=200]") == "er[memory.size=200]"
    assert suite.counterpart("simo", "icarl") is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (None, "has no plan.json"),
        ("{", "cannot be read"),
        ('{"suite": "x"}', "lacks runs"),
    ],
)
def test_a_folder_without_a_readable_plan_is_an_error(tmp_path, plan, message):
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(ReportError, match=message):
        load_suite(tmp_path)
