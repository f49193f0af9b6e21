"""Avalanche's plugins with ContrastiveReplay: each acts on what it trains, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import isclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import BasePlugin
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training import plugins as stock_plugins
from avalanche.training.plugins import (
    AGEMPlugin,
    EarlyStoppingPlugin,
    EvaluationPlugin,
    EWCPlugin,
    FromScratchTrainingPlugin,
    GDumbPlugin,
    GEMPlugin,
    LRSchedulerPlugin,
    LwFPlugin,
    MASPlugin,
    RWalkPlugin,
    SupervisedPlugin,
    SynapticIntelligencePlugin,
)
from parts import Witness, embedding_model, quiet
from torch import Tensor, nn

from simo_cl.losses import SimOLoss
from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay
from simo_cl.training.stock_plugins import REFUSED, REFUSED_ON_THE_CPU, refuse_unsuitable

DOCS = Path(__file__).resolve().parents[2] / "docs" / "strategies.md"
DIMENSION = 8

WORKING: dict[type, Callable[[Any], Any]] = {
    AGEMPlugin: lambda optimizer: AGEMPlugin(24, 12),
    EWCPlugin: lambda optimizer: EWCPlugin(1e3),
    EarlyStoppingPlugin: lambda optimizer: EarlyStoppingPlugin(1, "test_stream"),
    FromScratchTrainingPlugin: lambda optimizer: FromScratchTrainingPlugin(),
    GDumbPlugin: lambda optimizer: GDumbPlugin(24),
    GEMPlugin: lambda optimizer: GEMPlugin(12, 0.5),
    LRSchedulerPlugin: lambda optimizer: LRSchedulerPlugin(
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
    ),
    MASPlugin: lambda optimizer: MASPlugin(1.0),
    RWalkPlugin: lambda optimizer: RWalkPlugin(delta_t=2),
}


class Recorder(nn.Module):
    """SimO, and the shapes of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = SimOLoss()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.shapes.append(tuple(embeddings.shape))
        return self.loss(embeddings, labels)


def contrastive(make: Callable[[Any], Any] | None = None, **options: Any) -> tuple[Any, Any]:
    """A strategy with a plugin, and the plugin."""
    model = embedding_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    plugin = None if make is None else make(optimizer)
    defaults = {"loss": Recorder(), "evaluator": quiet()}
    strategy = ContrastiveReplay(
        model=model,
        optimizer=optimizer,
        replay=BalancedReplayPlugin(24, 16),
        plugins=[] if plugin is None else [plugin],
        **{**defaults, **options},
    )
    return strategy, plugin


@pytest.fixture
def _no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quadratic program that GEM leaves to a package of its own: no correction."""
    monkeypatch.setattr(
        "avalanche.training.plugins.gem.qpsolvers.solve_qp", lambda P, q, **rest: np.zeros_like(q)
    )


def test_every_plugin_of_avalanche_is_decided_and_documented() -> None:
    known = {
        value
        for value in vars(stock_plugins).values()
        if isclass(value) and issubclass(value, BasePlugin)
    }
    decided = {*WORKING, *REFUSED, *REFUSED_ON_THE_CPU}
    assert known - {EvaluationPlugin, SupervisedPlugin} == decided
    assert len(decided) == len(WORKING) + len(REFUSED) + len(REFUSED_ON_THE_CPU)
    table = DOCS.read_text(encoding="utf-8").partition("## Avalanche's plugins")[2]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    documented = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert documented == {kind.__name__ for kind in decided}


@pytest.mark.parametrize("kind", [*REFUSED, *REFUSED_ON_THE_CPU])
def test_what_would_do_nothing_is_refused_by_name(kind: type) -> None:
    plugin = kind.__new__(kind)
    with pytest.raises(ValueError, match=f"^{kind.__name__} cannot be used with ContrastiveReplay"):
        contrastive(lambda optimizer: plugin)


def test_also_when_it_joins_later(stream: Any) -> None:
    strategy, _ = contrastive()
    strategy.plugins.append(LwFPlugin())
    with pytest.raises(ValueError, match="LwFPlugin cannot be used"):
        strategy.train(stream.train_stream[0])


def test_synaptic_intelligence_is_for_cuda() -> None:
    plugin = SynapticIntelligencePlugin(1.0)
    refuse_unsuitable([plugin], "cuda:0")
    with pytest.raises(ValueError, match="on the CPU"):
        refuse_unsuitable([plugin], torch.device("cpu"))


@pytest.mark.usefixtures("_no_solver")
@pytest.mark.parametrize("kind", WORKING)
def test_what_works_acts_on_the_contrastive_loss(kind: type, stream: Any) -> None:
    strategy, _ = contrastive(
        WORKING[kind],
        evaluator=quiet(accuracy_metrics(stream=True)),
        eval_every=1 if kind is EarlyStoppingPlugin else -1,
    )
    modes = Witness("after_forward", lambda s: (s.model.training, s.mb_output.shape[1]))
    strategy.plugins.append(modes)
    for experience in stream.train_stream[:2]:
        strategy.train(experience, eval_streams=[stream.test_stream])
    assert set(modes.seen) == {(True, DIMENSION)}
    assert {shape[1] for shape in strategy.contrastive_loss.shapes} == {DIMENSION}
    looks_at_gradients = kind in (AGEMPlugin, EWCPlugin, GEMPlugin, RWalkPlugin)
    assert (len(strategy.contrastive_loss.shapes) > len(modes.seen)) == looks_at_gradients
    assert all(torch.isfinite(p).all() for p in strategy.model.parameters())
    accuracies = strategy.eval(stream.test_stream)
    assert 0 < accuracies["Top1_Acc_Stream/eval_phase/test_stream/Task000"] < 1


def test_the_importances_of_ewc_are_squared_gradients_of_the_contrastive_loss(stream: Any) -> None:
    strategy, plugin = contrastive(WORKING[EWCPlugin], loss=SimOLoss())
    data = stream.train_stream[0].dataset
    strategy.train(stream.train_stream[0])
    model = strategy.model.eval()
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    batches = [data.store.batch(data.rows[i : i + 16], data.group) for i in range(0, 48, 16)]
    for images, labels in batches:
        loss = SimOLoss()(model.head(model.encoder(images)), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for total, gradient in zip(expected.values(), gradients, strict=True):
            total += gradient.square() / len(batches)
    for name, importance in plugin.importances[0].items():
        torch.testing.assert_close(importance.data, expected[name])
        assert importance.data.any() or name.endswith("head.0.bias")


def test_training_stops_early_once_the_read_out_gets_no_better(stream: Any) -> None:
    strategy, _ = contrastive(
        WORKING[EarlyStoppingPlugin],
        evaluator=quiet(accuracy_metrics(stream=True)),
        eval_every=1,
        train_epochs=8,
    )
    for group in strategy.optimizer.param_groups:
        group["lr"] = 0.0
    frozen = Witness("before_training_epoch", lambda strategy: strategy.model.encoder.eval())
    epochs = Witness("after_training_epoch", lambda strategy: strategy.clock.train_exp_epochs)
    strategy.plugins.extend([frozen, epochs])
    strategy.train(stream.train_stream[0], eval_streams=[stream.test_stream])
    assert len(epochs.seen) == 2


def test_what_the_user_keeps_in_evaluation_mode_stays_in_it(stream: Any) -> None:
    """As layers of normalization whose running statistics are to stay."""
    strategy, _ = contrastive()
    encoder = strategy.model.encoder
    strategy.plugins.append(Witness("before_training_epoch", lambda strategy: encoder.eval()))
    before = [buffer.clone() for buffer in encoder.buffers()]
    weights = [p.detach().clone() for p in encoder.parameters()]
    strategy.train(stream.train_stream[0])
    assert all(map(torch.equal, encoder.buffers(), before))
    assert not any(map(torch.equal, encoder.parameters(), weights))


def test_the_model_classifies_again_afterwards_even_after_a_failure(stream: Any) -> None:
    strategy, _ = contrastive()
    images = torch.zeros(2, 1, 8, 8)
    strategy.train(stream.train_stream[0])
    assert strategy.model.eval()(images).shape == (2, 6)

    class Fails(SupervisedPlugin):  # type: ignore[misc]
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    strategy.plugins.append(Fails())
    with pytest.raises(KeyboardInterrupt):
        strategy.train(stream.train_stream[1])
    assert strategy.model.eval()(images).shape == (2, 6)
