"""Avalanche's own strategies run on our streams as they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from avalanche.benchmarks.utils.data_loader import ReplayDataLoader
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import DER, ER_ACE, ICaRL, Naive, Replay
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from simo_cl.streams import load_data
from simo_cl.streams.augmentation import tensor_augmentation
from simo_cl.streams.class_incremental import class_incremental

NUM_FEATURES = 16


def _features() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, NUM_FEATURES), nn.ReLU())


def _usual(strategy: type[SupervisedTemplate], **memory: int) -> Callable[..., SupervisedTemplate]:
    def build(**common: object) -> SupervisedTemplate:
        model = nn.Sequential(_features(), nn.Linear(NUM_FEATURES, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return strategy(
            model=model,
            optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(),
            **memory,
            **common,
        )

    return build


def _icarl(**common: object) -> SupervisedTemplate:
    features, classifier = _features(), nn.Linear(NUM_FEATURES, 10)
    parameters = [*features.parameters(), *classifier.parameters()]
    return ICaRL(
        feature_extractor=features,
        classifier=classifier,
        optimizer=torch.optim.SGD(parameters, lr=0.1),
        memory_size=40,
        buffer_transform=tensor_augmentation(["crop", "flip"], 8),
        fixed_memory=True,
        **common,
    )


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(_usual(Naive), id="Naive"),
        pytest.param(_usual(Replay, mem_size=40), id="Replay"),
        pytest.param(_usual(ER_ACE, mem_size=40, batch_size_mem=16), id="ER_ACE"),
        pytest.param(_usual(DER, mem_size=40, batch_size_mem=16), id="DER"),
        pytest.param(_icarl, id="ICaRL"),
    ],
)
def test_two_experiences_are_trained_and_evaluated(
    build: Callable[..., SupervisedTemplate],
) -> None:
    torch.manual_seed(0)
    benchmark = class_incremental("digits", experiences=5, augment=["crop"], validation=0.1)
    evaluator = EvaluationPlugin(accuracy_metrics(experience=True))
    strategy = build(
        train_mb_size=32, eval_mb_size=128, train_epochs=5, evaluator=evaluator, plugins=[]
    )
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, num_workers=0)
        results = strategy.eval(benchmark.test_stream[:2])
    newest = results["Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp001"]
    assert newest > 0.5
    assert isinstance(strategy.eval(benchmark.valid_stream[:2]), dict)


def test_replay_loaders_mix_current_and_stored_data() -> None:
    data = load_data("digits")
    benchmark = class_incremental(data, seed=None, augment=["flip"])
    current, stored = (benchmark.train_stream[i].dataset for i in (1, 0))
    loader = ReplayDataLoader(current, stored.subset(range(20)), batch_size=8, batch_size_mem=8)
    _, labels, tasks = next(iter(loader))
    assert set(labels[:8].tolist()) <= {2, 3}
    assert set(labels[8:].tolist()) <= {0, 1}
    assert tasks.tolist() == [0] * 16
