from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import FOR_BATCHES, STRATEGIES, entries, outcome, planned, write_suite

from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder

ALL = entries(*FOR_BATCHES)
JOINT = [name for name in FOR_BATCHES if name.startswith("joint")]
CONTRASTIVE = [name for name in FOR_BATCHES if name.endswith(("simo", "supcon", "triplet"))]
CONTRASTIVE.remove("er_simo")
CONTRASTIVE += ["metric_loss", "co2l"]
EMBEDDING = [*CONTRASTIVE, "fixed_targets"]


@dataclass
class Results:
    """What runs left in their folders, by strategy."""

    folder: Path
    runs: dict[str, PlannedRun]

    def path(self, strategy: str) -> Path:
        return self.folder / self.runs[strategy].folder

    def lines(self, strategy: str) -> list[dict[str, Any]]:
        text = (self.path(strategy) / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def arrays(self, strategy: str, name: str = "arrays") -> dict[str, np.ndarray]:
        return dict(np.load(self.path(strategy) / f"{name}.npz"))


def run_all(execute: Any, folder: Path, runs: list[PlannedRun]) -> Results:
    assert execute(runs, folder) == {}
    return Results(folder, {run.settings.entry: run for run in runs})


@pytest.fixture(scope="module")
def results(execute: Any, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every shipped strategy, run on two tiny experiences."""
    folder = tmp_path_factory.mktemp("all")
    return run_all(execute, folder, planned(folder, ALL))


@pytest.fixture(scope="module")
def repeated(execute: Any, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same once more, in another order, in which each follows on another."""
    folder = tmp_path_factory.mktemp("again")
    return run_all(execute, folder, planned(folder, ALL)[::-1])


def test_each_experience_is_measured(results: Results) -> None:
    for strategy in FOR_BATCHES:
        lines = results.lines(strategy)

        assert [line["experience"] for line in lines] == ([0] if strategy in JOINT else [0, 1])
        for line in lines:
            assert all(math.isfinite(value) for value in line["metrics"].values())
            assert 0 <= line["metrics"]["average_accuracy"] <= 1
        assert RunFolder(results.path(strategy)).state == "finished"


def test_strategies_take_equally_many_steps_and_forward_equally_many_images(
    results: Results,
) -> None:
    costs = {
        strategy: [
            (line["metrics"]["cost/steps"], line["metrics"]["cost/images"])
            for line in results.lines(strategy)
        ]
        for strategy in FOR_BATCHES
    }
    incremental, joint = [(5.0, 160.0), (10.0, 320.0)], [(10.0, 320.0)]

    # Before its first step, Avalanche's iCaRL passes that batch through twice to learn its shape.
    costs["icarl"] = [(steps, images - 2 * 32) for steps, images in costs["icarl"]]

    for strategy in costs:
        assert costs[strategy] == (joint if strategy in JOINT else incremental), strategy


@pytest.mark.parametrize("strategy", ["simo", "supcon", "triplet"])
def test_joint_training_by_setting_is_that_by_file(
    results: Results, execute: Any, tmp_path: Path, strategy: str
) -> None:
    text = (STRATEGIES / f"{strategy}.py").read_text() + "\nJOINT = True\n"
    write_suite(tmp_path / "own", text, "own.py")

    own = run_all(execute, tmp_path, planned(tmp_path, entries("own"), strategies=tmp_path / "own"))

    assert outcome(own.path("own")) == outcome(results.path(f"joint_{strategy}"))


def test_two_views_forward_no_more_images_than_one(execute: Any, tmp_path: Path) -> None:
    two = run_all(execute, tmp_path, planned(tmp_path, "strategies: {simo: {views: 2}}\n"))
    metrics = two.lines("simo")[-1]["metrics"]

    assert (metrics["cost/steps"], metrics["cost/images"]) == (10.0, 320.0)


def test_the_same_run_gives_the_same_bits(results: Results, repeated: Results) -> None:
    for strategy in FOR_BATCHES:
        for first, second in zip(results.lines(strategy), repeated.lines(strategy), strict=True):
            for metrics in (first["metrics"], second["metrics"]):
                del metrics["cost/train_seconds"], metrics["cost/evaluate_seconds"]
            assert first["metrics"] == second["metrics"]
        for name in ("arrays", "embeddings", "snapshots"):
            once, again = results.arrays(strategy, name), repeated.arrays(strategy, name)
            assert once.keys() == again.keys()
            for key, array in once.items():
                np.testing.assert_array_equal(array, again[key], err_msg=f"{strategy} {key}")


def test_seeds_differ(execute: Any, results: Results, tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\nseeds: [1]\n")
    other = run_all(execute, tmp_path, [run])

    assert (
        other.lines("er")[0]["metrics"]["train/loss"]
        != (results.lines("er")[0]["metrics"]["train/loss"])
    )


def test_contrastive_strategies_are_read_out_by_the_class_means_of_their_memory(
    results: Results,
) -> None:
    for strategy in CONTRASTIVE:
        arrays = results.arrays(strategy)

        np.testing.assert_array_equal(
            arrays["accuracy/own"], arrays["accuracy/ncm_memory"], err_msg=strategy
        )


def test_the_untrained_encoder_is_the_same_for_all(results: Results) -> None:
    expected = results.arrays("simo")["knn_initial"]

    for strategy in FOR_BATCHES:
        np.testing.assert_array_equal(
            results.arrays(strategy)["knn_initial"], expected, err_msg=strategy
        )


def test_the_folder_s_arrays_have_their_shapes(results: Results) -> None:
    for strategy in FOR_BATCHES:
        arrays = results.arrays(strategy)
        rows = 1 if strategy in JOINT else 2
        spaces = ["features", "features_centred"]
        if strategy in EMBEDDING:
            spaces += ["embedding", "embedding_centred"]

        for name in ("own", "ncm_memory", "ncm_oracle", "linear_probe", "knn", "mlp_head"):
            assert arrays.pop(f"accuracy/{name}").shape == (rows, 2)
        assert arrays.pop("knn_initial").shape == (2,)
        confusion = arrays.pop("confusion")
        assert confusion.shape == (rows, 10, 10)
        assert confusion.sum() == rows * 450
        assert arrays.pop("experience_of_class").tolist() == [0] * 5 + [1] * 5
        for space in spaces:
            cosines = arrays.pop(f"class_mean_cos/{space}")
            assert cosines.shape == (rows, 10, 10)
            unseen = np.isnan(cosines[0]).all(axis=1)
            assert unseen.tolist() == [False] * 5 + [strategy not in JOINT] * 5
            assert arrays.pop(f"simo_similarity/{space}").shape == (rows, 10, 10)
        assert arrays == {}


def test_the_final_model_s_embeddings_are_a_bounded_sample(results: Results) -> None:
    arrays = results.arrays("simo", "embeddings")

    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "test_features": ((40, 32), "float16"),
        "test_embedding": ((40, 128), "float16"),
        "test_labels": ((40,), "int64"),
        "train_features": ((40, 32), "float16"),
        "train_embedding": ((40, 128), "float16"),
        "train_labels": ((40,), "int64"),
    }
    assert np.bincount(arrays["test_labels"]).tolist() == [4] * 10
    assert "test_embedding" not in results.arrays("er", "embeddings")


def test_the_same_images_are_kept_after_each_experience(results: Results) -> None:
    joint, er, simo = (results.arrays(name, "snapshots") for name in ("joint", "er", "simo"))

    assert {name: (array.shape, str(array.dtype)) for name, array in simo.items()} == {
        "labels": ((40,), "int64"),
        "features": ((2, 40, 32), "float16"),
        "embedding": ((2, 40, 128), "float16"),
    }
    assert er.keys() == {"labels", "features"}
    assert joint["features"].shape == (1, 40, 32)
    final = results.arrays("simo", "embeddings")
    np.testing.assert_array_equal(simo["labels"], final["test_labels"])
    np.testing.assert_array_equal(simo["embedding"][-1], final["test_embedding"])
    assert (simo["features"][0] != simo["features"][1]).any()
