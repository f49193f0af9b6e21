"""Accuracy within the experiences of an online stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_online import planned as planned_online
from tiny import FOR_ONLINE, ONLINE, Interrupted, entries, outcome, part_of_digits, planned

from simo_cl.harness.anytime import AnytimeAccuracy
from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.suite_file import SuiteError
from simo_cl.metrics.anytime import anytime_metrics
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet

pytestmark = pytest.mark.usefixtures("weights_are_exported")

EVERY = ("evaluation.every=4", "evaluation.every_images=40")
ER = "strategies: {er: }\n"


@pytest.fixture(scope="module")
def data() -> DataSet:
    return part_of_digits()


def run_of(folder: Path, strategy: str, *overrides: str) -> PlannedRun:
    text = entries(strategy) + "checkpoint_minutes: 0\n"
    given = {"mir": ("mir@subsample=20",)}.get(strategy, ())
    (run,) = planned(folder / "suite", text, (*given, *overrides), settings=ONLINE)
    return run


def execute(
    run: PlannedRun, folder: Path, data: DataSet, stop_after: int | None = None
) -> dict[str, Any]:
    """Executes, or is interrupted in the middle of a step; gives what came out."""
    seen = 0

    def step(taken: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise Interrupted

    execute_run(run, data, RunFolder(folder / run.folder), torch.device("cpu"), step)
    return outcome(folder / run.folder)


def arrays_of(run: PlannedRun, folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / run.folder / "arrays.npz") as arrays:
        return dict(arrays)


def without_anytime(outcome: dict[str, Any]) -> dict[str, Any]:
    lines = [
        {name: value for name, value in line.items() if not name.startswith("anytime/")}
        for line in json.loads(outcome["metrics"])
    ]
    rest = {name: array for name, array in outcome.items() if "anytime/" not in name}
    return rest | {"metrics": lines}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", FOR_ONLINE)
def test_it_changes_no_other_number(strategy: str, tmp_path: Path, data: DataSet) -> None:
    without = execute(run_of(tmp_path, strategy), tmp_path, data)
    measured = execute(run_of(tmp_path, strategy, *EVERY), tmp_path, data)

    assert "arrays/anytime/accuracy" in measured
    assert without_anytime(measured) == without_anytime(without)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["er", "simo", "finetune"])
@pytest.mark.parametrize("stop_after", [3, 6, 17])
def test_an_interrupted_run_has_the_same_curve(
    strategy: str, stop_after: int, tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, strategy, *EVERY)
    whole = execute(run, tmp_path / "whole", data)
    with pytest.raises(Interrupted):
        execute(run, tmp_path / "pieces", data, stop_after)

    assert execute(run, tmp_path / "pieces", data) == whole


def test_it_measures_every_so_many_batches_and_at_the_end_of_each_experience(
    tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, "er", *EVERY, "stream.updates_per_batch=2")
    execute(run, tmp_path, data)
    lines = read_run_lines(tmp_path, run)
    ends = [int(line["cost/steps"]) // 2 for line in lines]
    arrays = arrays_of(run, tmp_path)

    assert arrays["anytime/batches"].tolist() == sorted({*range(4, ends[1] + 1, 4), *ends})
    assert arrays["anytime/experience"].tolist() == [
        int(batches > ends[0]) for batches in arrays["anytime/batches"]
    ]
    for index, line in enumerate(lines):
        points = arrays["anytime/batches"] <= ends[index]
        curve = [
            arrays[f"anytime/{name}"][points]
            for name in ("accuracy", "by_experience", "batches", "experience")
        ]
        expected = anytime_metrics(*curve)
        assert {n: v for n, v in line.items() if n.startswith("anytime/")} == expected


def read_run_lines(folder: Path, run: PlannedRun) -> list[dict[str, float]]:
    text = (folder / run.folder / "metrics.jsonl").read_text()
    return [json.loads(line)["metrics"] for line in text.splitlines()]


@pytest.mark.parametrize("strategy", ["er", "simo"])
def test_with_all_test_images_the_ends_are_the_accuracy_matrix(
    strategy: str, tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, strategy, "evaluation.every=1000", "evaluation.every_images=9999")
    execute(run, tmp_path, data)
    arrays = arrays_of(run, tmp_path)

    learnt = np.tril(np.ones((2, 2), dtype=bool))
    assert np.isnan(arrays["anytime/by_experience"]).tolist() == (~learnt).tolist()
    np.testing.assert_allclose(
        arrays["anytime/by_experience"][learnt], arrays["accuracy/own"][learnt], rtol=1e-12
    )


def test_the_sample_has_equally_many_images_of_each_class_by_the_seed(
    tmp_path: Path, data: DataSet
) -> None:
    run = run_of(tmp_path, "er", *EVERY)
    execute(run, tmp_path / "once", data)
    accuracies = arrays_of(run, tmp_path / "once")["anytime/by_experience"]

    # Of five classes an experience, four images each.
    shares = accuracies[~np.isnan(accuracies)] * 20
    np.testing.assert_allclose(shares, shares.round(), atol=1e-9)


def test_joint_training_has_the_area_alone(tmp_path: Path, data: DataSet) -> None:
    run = run_of(tmp_path, "joint", *EVERY)
    execute(run, tmp_path, data)

    (line,) = read_run_lines(tmp_path, run)
    assert {name for name in line if name.startswith("anytime/")} == {"anytime/accuracy"}


def test_measuring_is_time_of_evaluation(
    tmp_path: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    measure = AnytimeAccuracy._measure

    def takes_a_second(self: AnytimeAccuracy, *given: Any) -> None:
        nonlocal now
        now += 1.0
        measure(self, *given)

    monkeypatch.setattr(AnytimeAccuracy, "_measure", takes_a_second)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    run = run_of(tmp_path, "er", *EVERY)
    execute(run, tmp_path, data)
    last = read_run_lines(tmp_path, run)[-1]

    assert last["cost/train_seconds"] == 0
    assert last["cost/evaluate_seconds"] == len(arrays_of(run, tmp_path)["anytime/batches"])


def test_runs_without_it_are_the_ones_from_before_there_was_any(tmp_path: Path) -> None:
    off = run_of(tmp_path, "er")

    assert off.config["evaluation"] == {"batch_size": 128, "samples_per_class": 4}
    on = run_of(tmp_path, "er", *EVERY)
    assert on.config["evaluation"] == {
        "batch_size": 128,
        "samples_per_class": 4,
        "every": 4,
        "every_images": 40,
    }
    assert on.folder != off.folder


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        (
            "data: {name: digits}\n",
            "evaluation.every=100",
            "--set evaluation.every=100: evaluation.every would do nothing with stream.protocol: "
            "batch",
        ),
        (
            ONLINE,
            "evaluation.every_images=100",
            "evaluation.every_images would do nothing without evaluation.every",
        ),
        (ONLINE, "evaluation.every=0", "evaluation.every is 0"),
    ],
)
def test_it_is_refused_where_it_would_do_nothing(
    text: str, override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=message):
        planned_online(tmp_path, text + ER, override)


def test_a_grid_may_move_it(tmp_path: Path) -> None:
    grid = "grid: {evaluation.every: [2, 4], evaluation.every_images: [20]}\n"
    runs = planned_online(tmp_path, ONLINE + ER + grid)

    assert [run.settings.evaluation.every for run in runs] == [2, 4]


def test_fewer_images_than_classes_are_refused(tmp_path: Path) -> None:
    runs = planned_online(tmp_path, ONLINE + ER, "evaluation.every=5", "evaluation.every_images=9")
    with pytest.raises(SuiteError, match=r"every_images is 9; digits has 10 classes"):
        checked_data(runs, None)
