from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from avalanche.training.supervised import Naive
from parts import Witness, stock
from torch.nn.functional import cross_entropy

from simo_cl.losses.asymmetric_metric import asymmetric_metric_loss
from simo_cl.models import Classifier, build_encoder
from simo_cl.training import (
    BalancedReplayPlugin,
    ClassBalancedMemory,
    OnlineReplayPlugin,
    SimOPlugin,
)
from simo_cl.training.asymmetric_metric_learning import AsymmetricMetricLoss, MemoryCrossEntropy


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_encoder("small_cnn", channels=1, width=8), 6)


@pytest.mark.parametrize(
    "make_replay",
    [
        pytest.param(lambda: OnlineReplayPlugin(ClassBalancedMemory(24)), id="online"),
        pytest.param(lambda: BalancedReplayPlugin(24, 16, replays_current=True), id="batch"),
    ],
)
def test_the_new_samples_have_the_metric_loss_and_the_memory_cross_entropy(
    make_replay: Callable[[], Any], stream: Any
) -> None:
    replay = make_replay()
    features: list[Any] = []

    def losses(strategy: Any) -> tuple[int, Any, Any]:
        new, labels = replay.new_samples, strategy.mb_y
        scores = strategy.mb_output.detach()
        if new == len(labels):
            return new, cross_entropy(scores, labels), strategy.loss.detach()
        metric = asymmetric_metric_loss(features[-1], labels, new, temperature=0.2)
        return new, metric + cross_entropy(scores[new:], labels[new:]), strategy.loss.detach()

    plugins = [
        replay,
        SimOPlugin(1.0, AsymmetricMetricLoss(replay, temperature=0.2)),
        Witness("before_backward", losses),
    ]
    model = classifier()
    model.encoder.register_forward_hook(lambda _, given, out: features.append(out.detach()))
    strategy = stock(Naive, model, criterion=MemoryCrossEntropy(replay), plugins=plugins)
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    seen = plugins[-1].seen
    assert len(seen) > 6
    assert len({new for new, *_ in seen}) > 1 or seen[0][0] < 16
    for _, expected, loss in seen:
        torch.testing.assert_close(loss, expected[None])
    found = Witness("after_eval_iteration", lambda s: (s.mb_output, s.mb_y, s.loss))
    strategy.plugins.append(found)
    strategy.eval(stream.test_stream)
    for scores, labels, loss in found.seen:
        torch.testing.assert_close(loss, cross_entropy(scores, labels))


def test_new_samples_do_not_move_the_classifier(stream: Any) -> None:
    replay = OnlineReplayPlugin(ClassBalancedMemory(24))
    replay.new_samples = 4
    scores = torch.randn(7, 6, requires_grad=True)
    MemoryCrossEntropy(replay)(scores, torch.tensor([4, 5, 4, 5, 0, 1, 4])).backward()
    assert scores.grad is not None
    assert not scores.grad[:4].any()
    assert scores.grad[4:].all()


def test_runs_without_a_device(stream: Any) -> None:
    replay = BalancedReplayPlugin(24, 16, replays_current=True)
    model = classifier().to("meta")
    strategy = stock(
        Naive,
        model,
        device="meta",
        criterion=MemoryCrossEntropy(replay),
        plugins=[replay, SimOPlugin(1.0, AsymmetricMetricLoss(replay))],
    )
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert all(p.grad is not None for p in model.parameters())


def test_a_memory_without_current_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="give it replays_current=True"):
        MemoryCrossEntropy(BalancedReplayPlugin(24, 16))
    with pytest.raises(ValueError, match="replay has 2 views; ER-AML is for 1"):
        MemoryCrossEntropy(OnlineReplayPlugin(ClassBalancedMemory(24), views=2))


def test_bad_settings_of_the_metric_loss_are_refused() -> None:
    with pytest.raises(ValueError, match="replay has 2 views; ER-AML is for 1"):
        AsymmetricMetricLoss(OnlineReplayPlugin(ClassBalancedMemory(24), views=2))
    with pytest.raises(ValueError, match="temperature is 0; it must be positive"):
        AsymmetricMetricLoss(OnlineReplayPlugin(ClassBalancedMemory(24)), temperature=0)
