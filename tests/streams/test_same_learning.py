"""Avalanche's strategies learn on our streams what they learn on Avalanche's own data sets."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, variance
from typing import Any

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline, with_task_labels
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics, loss_metrics
from avalanche.logging import BaseLogger
from avalanche.models import SCRModel
from avalanche.training.plugins import EvaluationPlugin, MIRPlugin
from avalanche.training.supervised import DER, ER_ACE, EWC, SCR, ICaRL, LwF, Naive, Replay
from torch import nn

from simo_cl.streams import DataSet, Images, load_data
from simo_cl.streams.class_incremental import ClassIncremental, class_incremental
from simo_cl.streams.resident import ResidentDataset

NUM_FEATURES = 16
NUM_CLASSES = 6


@pytest.fixture(scope="module")
def six_digits() -> DataSet:
    """The digits 0 to 5: 40 training and 15 test images of each."""
    digits = load_data("digits")

    def first(images: Images, count: int) -> Images:
        rows = [(images.labels == c).nonzero().flatten()[:count] for c in range(NUM_CLASSES)]
        return Images(images.images[torch.cat(rows)], images.labels[torch.cat(rows)])

    train, test = first(digits.train, 40), first(digits.test, 15)
    return DataSet("six digits", train, test, tuple("012345"), "six digits")


def on_stock_data(benchmark: ClassIncremental) -> ClassIncremental:
    """The same experiences as Avalanche's own data sets, which give one sample at a time."""
    streams = {
        name: [experience.dataset.sample_by_sample() for experience in stream]
        for name, stream in benchmark.streams.items()
    }
    assert not any(isinstance(d, ResidentDataset) for parts in streams.values() for d in parts)
    scenario = with_task_labels(with_classes_timeline(benchmark_from_datasets(**streams)))
    return ClassIncremental(scenario, benchmark.data, benchmark.classes_per_experience)


def features() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, NUM_FEATURES), nn.ReLU())


def usual(kind: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    def build(**common: Any) -> Any:
        model = nn.Sequential(features(), nn.Linear(NUM_FEATURES, NUM_CLASSES))
        return kind(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            criterion=nn.CrossEntropyLoss(),
            **settings,
            **common,
        )

    return build


def mir(**common: Any) -> Any:
    plugin = MIRPlugin(batch_size_mem=8, mem_size=24, subsample=16)
    return usual(Naive)(plugins=[plugin], **common)


def icarl(**common: Any) -> Any:
    encoder, classifier = features(), nn.Linear(NUM_FEATURES, NUM_CLASSES)
    return ICaRL(
        feature_extractor=encoder,
        classifier=classifier,
        optimizer=torch.optim.SGD([*encoder.parameters(), *classifier.parameters()], lr=0.1),
        memory_size=24,
        buffer_transform=lambda image: image + torch.rand(()),
        fixed_memory=True,
        **common,
    )


def scr(**common: Any) -> Any:
    model = SCRModel(features(), nn.Linear(NUM_FEATURES, 8))
    return SCR(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        augmentations=lambda images: images + 0.1 * torch.rand_like(images),
        mem_size=24,
        batch_size_mem=8,
        **common,
    )


STRATEGIES = {
    "Naive": usual(Naive),
    "Replay": usual(Replay, mem_size=24),
    "ER_ACE": usual(ER_ACE, mem_size=24, batch_size_mem=8),
    "DER": usual(DER, mem_size=24, batch_size_mem=8),
    "LwF": usual(LwF, alpha=1, temperature=2),
    "EWC": usual(EWC, ewc_lambda=1),
    "MIR": mir,
    "ICaRL": icarl,
    "SCR": scr,
}


class Values(BaseLogger):
    """Every value that a metric gives, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[tuple[str, int, float]] = []

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        self.values.append((name, x_plot, float(value)))


def learn(
    build: Callable[..., Any], benchmark: ClassIncremental
) -> tuple[list[tuple[str, int, float]], dict[str, torch.Tensor]]:
    """Trains and evaluates on each experience; all metrics and the final weights."""
    torch.manual_seed(0)
    logger = Values()
    while_training = build is not scr  # its output then is no scores
    evaluator = EvaluationPlugin(
        accuracy_metrics(
            minibatch=while_training, epoch=while_training, experience=True, stream=True
        ),
        loss_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
        loggers=[logger],
    )
    strategy = build(train_mb_size=16, eval_mb_size=64, train_epochs=2, evaluator=evaluator)
    for experience in benchmark.train_stream:
        strategy.train(experience)
        strategy.eval(benchmark.test_stream)
    weights = {
        name: value
        for name, value in strategy.model.state_dict().items()
        if value.is_floating_point()
    }
    return logger.values, weights


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_augmentation_every_metric_and_weight_is_the_same(
    six_digits: DataSet, name: str
) -> None:
    benchmark = class_incremental(six_digits, experiences=3, seed=0)
    values, weights = learn(STRATEGIES[name], benchmark)
    expected, expected_weights = learn(STRATEGIES[name], on_stock_data(benchmark))
    assert [value[:2] for value in values] == [value[:2] for value in expected]
    assert [v for *_, v in values] == pytest.approx([v for *_, v in expected], abs=1e-6)
    assert weights.keys() == expected_weights.keys()
    for key, weight in weights.items():
        torch.testing.assert_close(weight, expected_weights[key], atol=1e-6, rtol=0)
    # Something was learnt, and measured.
    names = {key.partition("/")[0] for key, _, _ in values}
    assert {"Top1_Acc_Stream", "Loss_Stream", "StreamForgetting", "Loss_Epoch"} <= names
    stream = [v for key, _, v in values if key.startswith("Top1_Acc_Stream")]
    assert len(stream) == 3
    assert max(stream) > 0.3


SEEDS = range(5)


def test_with_augmentation_accuracy_differs_no_more_than_chance_makes_it(
    six_digits: DataSet,
) -> None:
    """By at most three standard errors of the difference of two means over seeds; accuracy without
    augmentation differs by more."""

    def accuracies(benchmark: ClassIncremental) -> list[float]:
        return [final_accuracy(benchmark, seed) for seed in SEEDS]

    def standard_error(*samples: list[float]) -> float:
        return sum(variance(sample) / len(SEEDS) for sample in samples) ** 0.5

    benchmark = class_incremental(six_digits, experiences=2, seed=0, augment=["crop", "flip"])
    ours, stock = accuracies(benchmark), accuracies(on_stock_data(benchmark))
    assert ours != stock  # random numbers are drawn for a whole batch
    assert abs(mean(ours) - mean(stock)) <= 3 * standard_error(ours, stock)

    plain = accuracies(class_incremental(six_digits, experiences=2, seed=0))
    assert abs(mean(ours) - mean(plain)) > 3 * standard_error(ours, plain)


def final_accuracy(benchmark: ClassIncremental, seed: int) -> float:
    torch.manual_seed(seed)
    evaluator = EvaluationPlugin(accuracy_metrics(stream=True), loggers=[BaseLogger()])
    strategy = usual(Replay, mem_size=24)(
        train_mb_size=16, eval_mb_size=64, train_epochs=4, evaluator=evaluator
    )
    for experience in benchmark.train_stream:
        strategy.train(experience)
    return strategy.eval(benchmark.test_stream)["Top1_Acc_Stream/eval_phase/test_stream/Task000"]
