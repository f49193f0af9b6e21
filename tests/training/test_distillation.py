from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.training.supervised import Naive
from parts import Witness, embedding_model, quiet, stock
from torch import Tensor

from simo_cl.losses import SimOLoss
from simo_cl.losses.relation_distillation import relation_distillation
from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay
from simo_cl.training.distillation import RelationDistillation


def distilled(distillation: RelationDistillation, *plugins: Any, **options: Any) -> Any:
    model = embedding_model(width=8)
    if "device" in options:
        model.to(options["device"])
    return ContrastiveReplay(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        loss=SimOLoss(),
        replay=BalancedReplayPlugin(12, 16),
        plugins=[distillation, *plugins],
        eval_mb_size=64,
        evaluator=quiet(),
        **options,
    )


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_adds_the_term_from_the_second_experience_on(stream: Any) -> None:
    distillation = RelationDistillation(0.7, temperature=0.3, past_temperature=0.05)

    def added(strategy: Any) -> tuple[Tensor, Tensor]:
        embeddings = strategy.mb_output.detach()
        loss = SimOLoss()(embeddings, strategy.mb_y)
        if strategy.clock.train_exp_counter:
            past = before.head(before.encoder(strategy.mb_x)).detach()
            loss += 0.7 * relation_distillation(
                embeddings, past, temperature=0.3, past_temperature=0.05
            )
        return loss[None], strategy.loss.detach()

    seen = Witness("before_backward", added)
    strategy = distilled(distillation, seen)
    before = embedding_model(width=8).eval()
    for experience in stream.train_stream:
        before.load_state_dict(strategy.model.state_dict())
        strategy.train(experience)
        strategy.eval(stream.test_stream)
    assert len(seen.seen) > 10
    for expected, loss in seen.seen:
        torch.testing.assert_close(loss, expected)


def test_the_model_before_is_frozen(stream: Any) -> None:
    """Also what batch normalization remembers, and the images that its encoder counts."""
    distillation = RelationDistillation()
    images = Witness("before_forward", lambda strategy: len(strategy.mb_x))
    strategy = distilled(distillation, images)
    strategy.train(stream.train_stream[0])
    assert distillation.past is None
    before = weights(strategy.model)
    strategy.train(stream.train_stream[1])
    assert distillation.past is not None
    assert not distillation.past.training
    after = weights(distillation.past)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(not torch.equal(v, before[n]) for n, v in strategy.model.state_dict().items())
    assert all(not p.requires_grad and p.grad is None for p in distillation.past.parameters())
    assert strategy.model.encoder.images_forwarded == sum(images.seen)


@pytest.mark.parametrize(("weight", "passes"), [(1.0, 1), (0.0, 0)])
def test_the_model_before_is_asked_only_where_it_counts(weight: float, passes: int) -> None:
    distillation = RelationDistillation(weight)
    asked = []
    past = distillation.keep(embedding_model(width=8))
    past.register_forward_hook(lambda *_: asked.append(1))
    images = torch.zeros(4, 1, 8, 8)
    step = SimpleNamespace(mb_x=images, mb_output=torch.ones(4, 3), loss=torch.zeros(1))
    distillation.before_backward(step)
    assert len(asked) == passes


def test_with_weight_0_training_is_as_without(stream: Any) -> None:
    found = []
    for weight in (0.0, 1.0, None):
        torch.manual_seed(0)
        strategy = distilled(RelationDistillation(weight or 0.0))
        if weight is None:
            strategy.plugins.remove(next(p for p in strategy.plugins if hasattr(p, "past")))
        for experience in stream.train_stream[:2]:
            strategy.train(experience)
        found.append(torch.nn.utils.parameters_to_vector(strategy.model.parameters()))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[1], found[2])


def test_runs_without_a_device(stream: Any) -> None:
    strategy = distilled(RelationDistillation(), device="meta")
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert all(p.grad is not None for p in strategy.model.parameters())


def test_a_model_that_does_not_embed_is_refused(stream: Any) -> None:
    strategy = stock(Naive, plugins=[RelationDistillation()])
    with pytest.raises(TypeError, match="model is a Classifier; RelationDistillation compares"):
        strategy.train(stream.train_stream[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": -1}, "weight is -1; it must be 0 or more"),
        ({"temperature": 0}, "^temperature is 0; it must be positive"),
        ({"past_temperature": -2}, "past_temperature is -2; it must be positive"),
    ],
)
def test_bad_settings_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelationDistillation(**arguments)
