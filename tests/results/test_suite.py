from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from simo_cl.report.page import write_report
from simo_cl.report.tables import write_tables
from simo_cl.results import ResultsError, load_suite


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
        "TrainingDivergedError: the loss became NaN in experience 2, iteration 118 "
        "(no experiences measured)"
    )
    assert failed.error.traceback.startswith("Traceback")
    assert [run.seed for run in suite.finished("simo")] == [0, 1]


def test_a_run_folder_outside_the_plan_is_left_out(make_suite):
    folder = make_suite(strategies=("er", "simo"))
    plan = json.loads((folder / "plan.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["strategy"] == "er"]
    (folder / "plan.json").write_text(json.dumps(plan))
    assert load_suite(folder).labels == ("er",)


def cut(path, share) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def drop_last_line(path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("metrics.jsonl", lambda path: path.unlink(), "metrics.jsonl cannot be read"),
        ("metrics.jsonl", lambda path: path.write_text(""), "metrics.jsonl is empty"),
        ("metrics.jsonl", lambda path: cut(path, 0.9), "line 5 of metrics.jsonl"),
        ("metrics.jsonl", drop_last_line, "metrics.jsonl holds 4 of 5 experiences"),
        ("arrays.npz", lambda path: path.unlink(), "arrays.npz is absent or torn"),
        ("arrays.npz", lambda path: cut(path, 0.5), "arrays.npz is absent or torn"),
        ("config.yaml", lambda path: path.unlink(), "config.yaml cannot be read"),
        ("status.json", lambda path: cut(path, 0.5), "status.json cannot be read"),
    ],
)
def test_a_finished_run_with_damaged_files_is_named_broken(make_suite, name, damage, problem):
    folder = make_suite(strategies=("er",), seeds=(0, 1))
    damage(folder / "runs/er/seed0-1a2b3c4d" / name)
    suite = load_suite(folder)
    assert [run.state for run in suite.runs] == ["broken", "finished"]
    assert problem in suite.runs[0].problem


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: cut(path, 0.5)])
def test_a_run_without_its_embeddings_stays_and_says_so(make_suite, damage):
    folder = make_suite(strategies=("er",), seeds=(0,))
    damage(folder / "runs/er/seed0-1a2b3c4d/embeddings.npz")
    (run,) = load_suite(folder).finished_runs
    assert run.problem.startswith("embeddings.npz is absent or torn")
    assert run.embedding_sample("test_labels") is None


def test_an_unfinished_run_says_how_far_it_came(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0, 1), unfinished=[("er", 0)])
    finished = folder / "runs/er/seed1-1a2b3c4d/metrics.jsonl"
    lines = finished.read_text().splitlines(keepends=True)
    (folder / "runs/er/seed0-1a2b3c4d/metrics.jsonl").write_text("".join(lines[:2]))
    run = load_suite(folder).runs[0]
    assert run.state == "running"
    assert run.problem.endswith("(2 experiences measured)")


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


def test_intransigence_is_measured_against_the_strategy_joint_whatever_it_is_called(make_suite):
    suite = load_suite(
        make_suite(
            strategies=("joint", "joint_supcon", "er"),
            built_by={"joint": "simo", "joint_supcon": "joint"},
        )
    )
    upper, er = suite.finished("joint_supcon")[0], suite.finished("er")[0]
    expected = np.mean(upper.array("accuracy/own")[0] - np.diag(er.array("accuracy/own")))
    assert er.final["intransigence"] == pytest.approx(expected)


def test_joint_training_of_a_strategy_is_not_joint(make_suite):
    suite = load_suite(make_suite(strategies=("joint", "er"), built_by={"joint": "simo"}))
    assert "intransigence" not in suite.finished("er")[0].final


def test_a_grid_row_is_set_beside_the_row_of_its_own_settings(make_suite):
    suite = load_suite(make_suite(strategies=("er", "simo"), variants=("", "memory.size=200")))
    assert suite.counterpart("simo", "er") == "er"
    assert suite.counterpart("simo[memory.size=200]", "er") == "er[memory.size=200]"
    assert suite.counterpart("simo", "er[memory.size=200]") == "er[memory.size=200]"
    assert suite.counterpart("simo", "icarl") is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (None, r"no plan\.json in"),
        ("{", "cannot be read"),
        ('{"suite": "x"}', "runs: Field required"),
    ],
)
def test_a_folder_without_a_readable_plan_is_an_error(tmp_path, plan, message):
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(ResultsError, match=message):
        load_suite(tmp_path)


def test_a_joint_run_has_nothing_of_a_stream(make_suite):
    folder = make_suite(strategies=("joint", "er"), seeds=(0,), experiences=2, classes=4, sample=4)
    (path,) = folder.glob("runs/joint/*/metrics.jsonl")
    (line,) = map(json.loads, path.read_text().splitlines())
    stream = {"new_class_accuracy": 0.9, "knn/average_anytime_accuracy": 0.8}
    path.write_text(json.dumps({**line, "metrics": {**line["metrics"], **stream}}))

    suite = load_suite(folder)

    (joint,), (er,) = suite.finished("joint"), suite.finished("er")
    assert joint.final.keys() == line["metrics"].keys()
    assert "new_class_accuracy" in er.final


def test_tables_without_the_runs_they_are_of_are_not_replaced(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0, 1), experiences=2, classes=4, sample=4)
    write_tables(load_suite(folder), [])
    before = (folder / "runs.csv").read_text()
    shutil.rmtree(folder / "runs")

    with pytest.raises(
        ResultsError, match=r"results of 2 runs and none of their folders.*runs\.csv.*--results"
    ):
        write_report(load_suite(folder))

    assert (folder / "runs.csv").read_text() == before
    assert not (folder / "report.html").exists()

    (folder / "report.html").write_text("A page of those runs.")
    with pytest.raises(ResultsError, match=r"The results are in \S*report\.html, .*runs\.csv"):
        write_report(load_suite(folder))
