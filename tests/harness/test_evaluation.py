"""What is measured after each experience, against plain loops over single images."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import planned

from simo_cl.harness.evaluation import Evaluation
from simo_cl.harness.execute_run import _sampled_embeddings, make_benchmark
from simo_cl.harness.setup import Setup
from simo_cl.metrics.readouts import knn, linear_probe, mlp_head, nearest_class_mean
from simo_cl.streams import DataSet, load_data

STRATEGIES = ("er", "finetune", "icarl", "joint", "simo")
PARTS = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
SAMPLES_PER_CLASS = 4
MEMORY_SIZE = 40


@dataclass
class After:
    """A strategy as it was after an experience, seen without the code under test."""

    metrics: dict[str, float]
    predictions: np.ndarray
    test: np.ndarray
    train: np.ndarray
    memory: tuple[np.ndarray, np.ndarray]


@dataclass
class Trained:
    name: str
    data: DataSet
    initial: After
    after: list[After]
    evaluation: Evaluation

    @property
    def test_labels(self) -> np.ndarray:
        return self.data.test.labels.numpy()

    @property
    def train_labels(self) -> np.ndarray:
        return self.data.train.labels.numpy()


def normalized(data: DataSet, images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    return (images.float() / 255 - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def features(model: Any, layer: str, images: torch.Tensor) -> np.ndarray:
    """One image at a time."""
    model.eval()
    with torch.no_grad():
        rows = [model.get_submodule(layer)(image[None]) for image in images]
    return torch.cat(rows).double().numpy()


def memory_of(
    name: str, strategy: Any, data: DataSet, seen: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The images in a strategy's memory with their labels, found by hand."""
    train_labels = data.train.labels
    if name == "icarl":
        (plugin,) = (p for p in strategy.plugins if hasattr(p, "x_memory"))
        labels = [label for class_labels in plugin.y_memory for label in class_labels]
        return torch.cat(plugin.x_memory), torch.tensor(labels)
    if name in ("er", "simo"):
        (policy,) = (p.storage_policy for p in strategy.plugins if hasattr(p, "storage_policy"))
        items = [policy.buffer.eval()[i] for i in range(len(policy.buffer))]
        return torch.stack([item[0] for item in items]), torch.tensor([item[1] for item in items])
    if name == "finetune":
        rows = torch.cat([(train_labels == c).nonzero().flatten() for c in PARTS[seen - 1]])
    else:
        each = MEMORY_SIZE // 10
        rows = torch.cat([(train_labels == c).nonzero().flatten()[:each] for c in range(10)])
    return normalized(data, data.train.images[rows]), train_labels[rows]


def look(name: str, layer: str, strategy: Any, data: DataSet, seen: int, metrics: Any) -> After:
    model = strategy.model
    test_images = normalized(data, data.test.images)
    predictions, memory = np.zeros(0), (np.zeros((0, 0)), np.zeros(0))
    if seen:
        model.eval()
        with torch.no_grad():
            scores = [model(batch) for batch in test_images.split(50)]
        predictions = torch.cat(scores).argmax(dim=1).numpy()
        images, labels = memory_of(name, strategy, data, seen)
        memory = (features(model, layer, images), labels.numpy())
    return After(
        metrics,
        predictions,
        features(model, layer, test_images),
        features(model, layer, normalized(data, data.train.images)),
        memory,
    )


@pytest.fixture(scope="module", params=STRATEGIES)
def trained(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    name = request.param
    (run,) = planned(tmp_path_factory.mktemp(name), f"strategies: {{{name}: }}\n")
    data, file = load_data("digits"), run.strategy_file
    settings, device = run.settings, torch.device("cpu")
    torch.manual_seed(0)
    benchmark = make_benchmark(data, settings, run.joint, torch.device("cpu"))
    setup = Setup(settings, data, device, [20] if run.joint else [10, 10])
    strategy = file.module.build(setup, file.settings({}, run.locations))
    evaluation = Evaluation(run, benchmark, strategy, setup.budget())
    layer = file.feature_layer
    initial = look(name, layer, strategy, data, 0, {})
    evaluation.before_training()
    after: list[After] = []
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[], drop_last=True)
        metrics = evaluation.after_experience(experience)
        after.append(look(name, layer, strategy, data, len(after) + 1, metrics))
    return Trained(name, data, initial, after, evaluation)


def seen_classes(trained: Trained, step: int) -> list[int]:
    return list(range(10)) if len(trained.after) == 1 or step == 1 else PARTS[0]


def oracle(trained: Trained, train: np.ndarray, classes: list[int]) -> tuple[Any, Any]:
    """The first training images of each of the classes."""
    labels = trained.train_labels
    rows = np.concatenate([np.flatnonzero(labels == c)[:SAMPLES_PER_CLASS] for c in classes])
    return train[rows], labels[rows]


def by_experience(trained: Trained, predictions: np.ndarray) -> list[float]:
    accuracies = []
    for part in PARTS:
        right = [
            predicted == label
            for predicted, label in zip(predictions, trained.test_labels, strict=True)
            if label in part
        ]
        accuracies.append(sum(right) / len(right))
    return accuracies


def test_accuracy_of_every_read_out(trained: Trained) -> None:
    arrays = trained.evaluation.arrays()
    for step, after in enumerate(trained.after):
        reference = oracle(trained, after.train, seen_classes(trained, step))
        expected = {
            "own": after.predictions,
            "ncm_memory": nearest_class_mean(*after.memory, after.test),
            "ncm_oracle": nearest_class_mean(*reference, after.test),
            "linear_probe": linear_probe(*reference, after.test),
            "knn": knn(*reference, after.test),
            "mlp_head": mlp_head(*reference, after.test),
        }
        for name, predictions in expected.items():
            # Features of one image differ in the last bits from those of a batch, and a tie may
            # fall the other way.
            np.testing.assert_allclose(
                arrays[f"accuracy/{name}"][step],
                by_experience(trained, predictions),
                atol=1.5 / 225,
                err_msg=name,
            )


def test_confusion_matrix(trained: Trained) -> None:
    confusions = trained.evaluation.arrays()["confusion"]
    for after, confusion in zip(trained.after, confusions, strict=True):
        expected = np.zeros((10, 10), dtype=int)
        for label, predicted in zip(trained.test_labels, after.predictions, strict=True):
            expected[label, predicted] += 1

        np.testing.assert_array_equal(confusion, expected)


def test_continual_metrics(trained: Trained) -> None:
    arrays = trained.evaluation.arrays()
    matrix = arrays["accuracy/own"]
    last = trained.after[-1].metrics

    assert last["average_accuracy"] == pytest.approx(matrix[-1].mean())
    right = (trained.after[-1].predictions == trained.test_labels).astype(float)
    if len(trained.after) == 1:
        assert "forgetting" not in last
        assert "forward_transfer" not in last
        assert "old_class_accuracy" not in last
        assert "new_class_accuracy" not in last
        assert "average_anytime_accuracy" not in last
        return
    assert trained.after[0].metrics["average_accuracy"] == pytest.approx(matrix[0, 0])
    assert "forgetting" not in trained.after[0].metrics
    assert last["forgetting"] == pytest.approx(matrix[0, 0] - matrix[1, 0])
    assert last["average_anytime_accuracy"] == pytest.approx((matrix[0, 0] + matrix[1].mean()) / 2)
    old = np.isin(trained.test_labels, PARTS[0])
    assert last["old_class_accuracy"] == pytest.approx(right[old].mean())
    assert last["new_class_accuracy"] == pytest.approx(right[~old].mean())


def test_forward_transfer_is_the_gain_of_a_k_nn_that_knows_all_classes(trained: Trained) -> None:
    def accuracy(after: After) -> float:
        predictions = knn(*oracle(trained, after.train, list(range(10))), after.test)
        return by_experience(trained, predictions)[1]

    before = accuracy(trained.initial)

    assert trained.evaluation.arrays()["knn_initial"][1] == pytest.approx(before, abs=1.5 / 225)
    if len(trained.after) == 2:
        gain = accuracy(trained.after[0]) - before
        assert trained.after[1].metrics["forward_transfer"] == pytest.approx(gain, abs=3 / 225)


def directions(trained: Trained, after: After, classes: list[int]) -> np.ndarray:
    """Unit vectors along the means of unit vectors, from the first test images of each class."""
    rows = []
    for c in classes:
        sample = after.test[np.flatnonzero(trained.test_labels == c)[:SAMPLES_PER_CLASS]]
        mean = np.mean([row / np.linalg.norm(row) for row in sample], axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def test_geometry_is_that_of_the_first_test_images_of_each_seen_class(trained: Trained) -> None:
    cosines = trained.evaluation.arrays()["class_mean_cos/features"]
    for step, after in enumerate(trained.after):
        classes = seen_classes(trained, step)
        means = directions(trained, after, classes)
        between = [
            abs(means[a] @ means[b]) for a in range(len(means)) for b in range(len(means)) if a != b
        ]

        np.testing.assert_allclose(
            cosines[step][np.ix_(classes, classes)], means @ means.T, atol=1e-5
        )
        assert after.metrics["features/orthogonality/mean_abs_cos"] == pytest.approx(
            np.mean(between), abs=1e-5
        )


def test_drift_is_that_of_the_old_classes(trained: Trained) -> None:
    assert "features/drift/class_mean" not in trained.after[0].metrics
    if len(trained.after) == 2:
        learnt = directions(trained, trained.after[0], PARTS[0])
        now = directions(trained, trained.after[1], PARTS[0])
        moved = np.mean([1 - a @ b for a, b in zip(learnt, now, strict=True)])

        assert trained.after[1].metrics["features/drift/class_mean"] == pytest.approx(
            moved, abs=1e-5
        )


def test_the_memory_has_the_size_it_may_have(trained: Trained) -> None:
    points, labels = trained.after[-1].memory

    if trained.name != "finetune":  # it has none, and is read out by its current experience
        assert len(points) <= MEMORY_SIZE
        assert sorted(set(labels.tolist())) == list(range(10))


def test_simo_classifies_by_the_class_means_of_its_memory(trained: Trained) -> None:
    if trained.name != "simo":
        pytest.skip("another classifier")
    for after in trained.after:
        expected = nearest_class_mean(*after.memory, after.test)
        np.testing.assert_array_equal(after.predictions, expected)


def test_validation_images_are_evaluated_where_a_suite_says_so(
    tmp_path: Path, execute: Any
) -> None:
    more = "strategies: {finetune: }\n"
    overrides = ("stream.validation=0.2", "stream.evaluate_on=validation")
    (run,) = planned(tmp_path, more, overrides)

    execute([run], tmp_path)

    confusion = np.load(tmp_path / run.folder / "arrays.npz")["confusion"]
    held_out = sum(round(0.2 * n) for n in load_data("digits").train.labels.bincount().tolist())
    assert confusion[-1].sum() == held_out


def test_a_layer_that_an_evaluation_does_not_use_is_named(tmp_path: Path, execute: Any) -> None:
    (tmp_path / "strategies").mkdir()
    shipped = planned(tmp_path, "strategies: {finetune: }\n")[0].strategy_file.path
    text = shipped.read_text().replace("SEARCH_SPACE", 'FEATURE_LAYER = "no_layer"\nSEARCH_SPACE')
    (tmp_path / "strategies" / "own.py").write_text(text)
    (run,) = planned(tmp_path, "strategies: {own: }\n", strategies=tmp_path / "strategies")

    failed = execute([run], tmp_path)

    assert "no_layer" in failed["own, seed 0"]
    assert "FEATURE_LAYER" in failed["own, seed 0"]


HEADED = """
from avalanche.training.supervised import Naive
from torch import nn

EMBEDDING_LAYER = "classifier"


def build(setup, settings):
    model = setup.classifier()
    model.head = nn.Identity()  # of no loss
    return Naive(**setup.stock_arguments(model, settings.lr), plugins=[setup.budget()])
"""


def test_the_space_of_the_loss_is_the_one_that_the_strategy_names(
    tmp_path: Path, execute: Any
) -> None:
    strategies = tmp_path / "strategies"
    strategies.mkdir()
    (strategies / "named.py").write_text(HEADED)
    (strategies / "none.py").write_text(HEADED.replace("EMBEDDING_LAYER", "OTHER"))
    (strategies / "wrong.py").write_text(HEADED.replace('"classifier"', '"no_layer"'))
    runs = planned(tmp_path, "strategies: {named: , none: , wrong: }\n", strategies=strategies)

    failed = execute(runs, tmp_path)

    named, none = (np.load(tmp_path / run.folder / "embeddings.npz") for run in runs[:2])
    assert named["test_embedding"].shape[1] == 10
    assert "test_embedding" not in none
    assert "EMBEDDING_LAYER is 'no_layer', which the model has not" in failed["wrong, seed 0"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Any, Any]:
    """An evaluation of fine-tuning, its strategy and its benchmark."""
    (run,) = planned(tmp_path_factory.mktemp("untrained"), "strategies: {finetune: }\n")
    data, file, settings = load_data("digits"), run.strategy_file, run.settings
    cpu = torch.device("cpu")
    benchmark = make_benchmark(data, settings, run.joint, cpu)
    setup = Setup(settings, data, cpu, [1, 1])
    strategy = file.module.build(setup, file.settings({}, run.locations))
    evaluation = Evaluation(run, benchmark, strategy, setup.budget())
    evaluation.before_training()
    return evaluation, strategy, benchmark


@pytest.mark.parametrize("size", [0.0, 1e6])
def test_features_that_collapse_or_grow_have_finite_metrics_and_arrays(
    untrained: tuple[Evaluation, Any, Any], size: float
) -> None:
    evaluation, strategy, benchmark = copy.deepcopy(untrained)
    last = [m for m in strategy.model.modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]
    torch.nn.init.constant_(last.weight, size)
    torch.nn.init.constant_(last.bias, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, about features that are constant
        for experience in benchmark.train_stream:
            metrics = evaluation.after_experience(experience)

    assert all(math.isfinite(value) for value in metrics.values())
    assert ("features/drift/class_mean" in metrics) == (size > 0)
    stored = [evaluation.snapshots.arrays(), _sampled_embeddings(evaluation.sample)]
    for arrays in stored:
        assert all(np.isfinite(array).all() for array in arrays.values())
        assert size == 0 or any(array.max() > 65_504 for array in arrays.values())
