"""The metrics on streams whose classes come back, with one test set, or with task labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import (
    benchmark_from_datasets,
    nc_benchmark,
    new_instances_benchmark,
    ni_benchmark,
    tensors_benchmark,
)
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.logging import BaseLogger
from avalanche.training import JointTraining, Naive
from avalanche.training.plugins import EvaluationPlugin
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from simo_cl.metrics.continual import continual_metrics
from simo_cl.metrics.plugins import continual_learning_metrics, orthogonality_metrics

COMPARING = ("forgetting", "backward_transfer", "learning_accuracy", "worst_case_accuracy")


def points(seed: int, classes: tuple[int, ...] = (0, 1, 2, 3), shift: float = 0.0) -> TensorDataset:
    """Noisy corners of a cube, 12 of each class."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(12)
    noise = torch.randn(len(labels), 4, generator=random)
    data = TensorDataset(torch.eye(4)[labels % 4] * 2 + shift + noise, labels)
    data.targets = labels.tolist()
    return data


def of_datasets(train: list[TensorDataset], test: list[TensorDataset]) -> Any:
    streams = {"train": train, "test": test}
    return benchmark_from_datasets(
        **{name: [as_classification_dataset(d) for d in parts] for name, parts in streams.items()}
    )


def naive(*metrics: Any, kind: type = Naive) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    return kind(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.3),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=6,
        eval_mb_size=48,
        train_epochs=2,
        evaluator=EvaluationPlugin(*metrics, loggers=[BaseLogger()]),
    )


@torch.no_grad()
def answers(strategy: Any, experience: Any) -> tuple[Tensor, Tensor]:
    rows = [(x, int(y)) for x, y, *_ in experience.dataset]
    x, y = torch.stack([x for x, _ in rows]), torch.tensor([y for _, y in rows])
    return y, strategy.model.eval()(x).argmax(dim=1)


def share_right(strategy: Any, experience: Any, classes: Any = range(4)) -> float:
    y, found = answers(strategy, experience)
    chosen = torch.isin(y, torch.tensor(list(classes)))
    return float((y == found)[chosen].double().mean())


def matrix(value: Any) -> np.ndarray:
    return value.best_supported_value(Tensor).numpy()


def repetition(test: int = 1) -> Any:
    """Class-incremental with repetition: class 1 comes back, and some come late."""
    train = [points(i, classes) for i, classes in enumerate([(0, 1), (2, 1), (3, 0)])]
    return of_datasets(train, [points(9)] * test)


ONE_TEST_SET = {
    "ni": lambda: ni_benchmark(points(0), points(9), 3, seed=0),
    "generated ni": lambda: new_instances_benchmark(
        as_classification_dataset(points(0)), as_classification_dataset(points(9)), 3, seed=0
    ),
    "cir": repetition,
    "cir, its test set for each": lambda: repetition(test=3),
}


@pytest.mark.parametrize("name", ONE_TEST_SET)
def test_one_test_set_for_classes_that_come_back(name):
    bench = ONE_TEST_SET[name]()
    strategy = naive(continual_learning_metrics(), orthogonality_metrics())
    averages, emitted = [], []
    for t, experience in enumerate(bench.train_stream):
        strategy.train(experience)
        if t == 0:
            with pytest.warns(UserWarning, match=r"the test stream has no.*forgetting.*left out"):
                last = strategy.eval(bench.test_stream)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="the test stream")
                last = strategy.eval(bench.test_stream)
        test = next(iter(bench.test_stream))
        averages.append(share_right(strategy, test))
        assert last["average_accuracy"] == pytest.approx(averages[-1])
        assert last["average_anytime_accuracy"] == pytest.approx(np.mean(averages))
        assert matrix(last["accuracy_matrix"])[:, 0] == pytest.approx(averages)
        current = {int(y) for y in experience.dataset.targets}
        assert last["new_class_accuracy"] == pytest.approx(share_right(strategy, test, current))
        assert last["class_accuracy/1"] == pytest.approx(share_right(strategy, test, [1]))
        emitted.append(set(last))
    assert not set(COMPARING) & emitted[-1]
    assert emitted[0] <= emitted[1]
    assert len(strategy.evaluator.get_all_metrics()["average_accuracy"][0]) == 3


@pytest.mark.parametrize("evaluate", ["all", "slices"])
def test_one_test_set_is_split_by_class_where_classes_stay_apart(evaluate):
    """As CORe50's and other complete test sets are: it is what a split one gives."""
    order = {"seed": 3}
    split = nc_benchmark(points(0), points(9), 2, task_labels=False, **order)
    whole = of_datasets([e.dataset for e in split.train_stream], [points(9)])
    results = []
    for bench in (split, whole):
        strategy = naive(continual_learning_metrics())
        for t, experience in enumerate(
            split.train_stream if bench is split else whole.train_stream
        ):
            strategy.train(experience)
            part = bench.test_stream if evaluate == "all" else bench.test_stream[: t + 1]
            last = strategy.eval(part)
        results.append({n: v for n, v in last.items() if isinstance(v, float)})
        assert matrix(last["accuracy_matrix"]).shape == (2, 2)
    if evaluate == "all":
        assert results[0] == pytest.approx(results[1])
    for name in ("average_accuracy", "forgetting", "learning_accuracy"):
        assert results[0][name] == pytest.approx(results[1][name])


def test_a_slice_of_a_test_stream_is_not_one_test_set():
    bench = nc_benchmark(points(0), points(9), 4, task_labels=False, seed=0)
    strategy = naive(continual_learning_metrics())
    for t, experience in enumerate(bench.train_stream):
        strategy.train(experience)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="the test stream")
            last = strategy.eval(bench.test_stream[: t + 1])
    assert matrix(last["accuracy_matrix"]).shape == (4, 4)
    assert "forgetting" in last


def test_domains_have_an_accuracy_each():
    """The same classes in every experience, each with a test set of its own."""
    domains = [points(i, shift=3.0 * i) for i in range(3)]
    bench = of_datasets(domains, [points(10 + i, shift=3.0 * i) for i in range(3)])
    strategy = naive(continual_learning_metrics())
    rows = []
    for experience in bench.train_stream:
        strategy.train(experience)
        last = strategy.eval(bench.test_stream)
        rows.append([share_right(strategy, test) for test in bench.test_stream])
    expected = continual_metrics(rows)
    assert {name: last[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("stream", ["domains", "tasks from 0", "one test set"])
def test_joint_training_is_averaged_over_all_there_is(stream):
    if stream == "domains":
        bench = of_datasets([points(i, shift=i) for i in range(3)], [points(9), points(8)] * 2)
    elif stream == "one test set":
        split = nc_benchmark(points(0), points(9), 2, task_labels=False, seed=3)
        bench = of_datasets([e.dataset for e in split.train_stream], [points(9)])
    else:
        bench = tasks()
    strategy = naive(continual_learning_metrics(), kind=JointTraining)
    strategy.train(bench.train_stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        last = strategy.eval(bench.test_stream)
    accuracies = [share_right(strategy, test) for test in bench.test_stream]
    assert last["average_accuracy"] == pytest.approx(np.mean(accuracies))
    assert not set(COMPARING) & set(last)


def tasks() -> Any:
    return nc_benchmark(
        points(0), points(9), 2, task_labels=True, class_ids_from_zero_in_each_exp=True, seed=0
    )


class TestTasksWhoseClassesStartAtZero:
    def test_accuracies_are_by_task_and_classes_left_out(self):
        bench = tasks()
        strategy = naive(continual_learning_metrics())
        rows = []
        for t, experience in enumerate(bench.train_stream):
            strategy.train(experience)
            if t == 0:
                message = r"class 0 stands in tasks 0, 1 of the test stream.*left out"
                with pytest.warns(UserWarning, match=message):
                    last = strategy.eval(bench.test_stream)
            else:
                last = strategy.eval(bench.test_stream)
            rows.append([share_right(strategy, test) for test in bench.test_stream])
        expected = continual_metrics(rows)
        assert {name: last[name] for name in expected} == pytest.approx(expected)
        assert not [n for n in last if "class" in n or "confusion" in n]

    @pytest.mark.parametrize("part", [slice(None), slice(1)])
    def test_the_geometry_is_refused_at_the_first_evaluation(self, part):
        bench = tasks()
        strategy = naive(orthogonality_metrics())
        strategy.train(bench.train_stream[0])
        with pytest.raises(ValueError, match=r"class 0 stands in tasks 0, 1; make the benchmark"):
            strategy.eval(bench.test_stream[part])

    def test_numbers_that_go_on_are_fine(self):
        bench = nc_benchmark(points(0), points(9), 2, task_labels=True, seed=0)
        strategy = naive(continual_learning_metrics(), orthogonality_metrics())
        for experience in bench.train_stream:
            strategy.train(experience)
            last = strategy.eval(bench.test_stream)
        assert {"forgetting", "class_accuracy/0", "features/drift/class_mean"} <= set(last)


def test_a_test_set_with_fewer_classes_still_belongs_to_its_experience():
    train = [points(0, (0, 1)), points(1, (2, 3))]
    bench = of_datasets(train, [points(8, (0,)), points(9, (2, 3))])
    strategy = naive(continual_learning_metrics())
    for experience in bench.train_stream:
        strategy.train(experience)
        last = strategy.eval(bench.test_stream)
    expected = [share_right(strategy, test) for test in bench.test_stream]
    assert matrix(last["accuracy_matrix"])[-1] == pytest.approx(expected)


def test_avalanches_complete_test_set():
    """As the generators for tensors and for file lists make it."""
    x, y = points(0).tensors
    parts = [(x[y == c], y[y == c]) for c in range(4)]
    bench = tensors_benchmark(
        train_tensors=parts,
        test_tensors=[points(9).tensors],
        task_labels=[0] * 4,
        complete_test_set_only=True,
    )
    strategy = naive(continual_learning_metrics())
    for experience in bench.train_stream:
        strategy.train(experience)
        last = strategy.eval(bench.test_stream)
    assert matrix(last["accuracy_matrix"]).shape == (4, 4)
    expected = np.mean([share_right(strategy, bench.test_stream[0], [c]) for c in range(4)])
    assert last["average_accuracy"] == pytest.approx(expected)
