from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from avalanche.training.plugins import LRSchedulerPlugin
from avalanche.training.supervised import AGEM, DER, ER_ACE, MIR, LwF, Naive, Replay
from parts import NUM_FEATURES, Witness, classifier, icarl, scr, stock
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn

from simo_cl.losses import SimOLoss, simo_loss
from simo_cl.training import SimOPlugin
from simo_cl.training.metric_loss import metric_loss

# Each with the number of samples that the term covers in the last of three experiences.
STRATEGIES = [
    pytest.param(Naive, {}, {16}, id="Naive"),
    pytest.param(Replay, {"mem_size": 48}, {32}, id="Replay"),
    pytest.param(LwF, {"alpha": 1, "temperature": 2}, {16}, id="LwF"),
    pytest.param(MIR, {"mem_size": 24, "subsample": 12, "batch_size_mem": 8}, {16}, id="MIR"),
    pytest.param(ER_ACE, {"mem_size": 24, "batch_size_mem": 8}, {16}, id="ER_ACE"),
    pytest.param(DER, {"mem_size": 24, "batch_size_mem": 8}, {24}, id="DER"),
    pytest.param(AGEM, {"patterns_per_exp": 8, "sample_size": 8}, {16}, id="AGEM"),
]
WEIGHT = 0.5
SIZES = {"num_classes": 6, "embedding_size": 4}


@pytest.mark.parametrize(("kind", "settings", "rows"), STRATEGIES)
@pytest.mark.parametrize("with_head", [False, True])
def test_adds_the_weighted_loss_in_every_iteration(stream, kind, settings, rows, with_head):
    head = nn.Linear(NUM_FEATURES, 4) if with_head else None
    simo = SimOPlugin(WEIGHT, SimOLoss(epsilon=0.3), head=head)

    @torch.no_grad()
    def by_hand(strategy: Any) -> tuple[int, Tensor]:
        features = strategy.model.encoder(strategy.mb_x)
        points = features if head is None else head(features)
        return len(points), WEIGHT * SimOLoss(epsilon=0.3)(points, strategy.mb_y)

    expected = Witness("before_backward", by_hand)
    before = Witness("before_backward", lambda strategy: strategy.loss.detach().clone())
    after = Witness("before_backward", lambda strategy: strategy.loss.detach().clone())
    strategy = stock(kind, plugins=[expected, before, simo, after], **settings)
    start = copy.deepcopy((strategy.model, head))
    for experience in stream.train_stream:
        strategy.train(experience)

    assert len(expected.seen) == 9
    assert {count for count, _ in expected.seen[-3:]} == rows
    for (_, term), low, high in zip(expected.seen, before.seen, after.seen, strict=True):
        assert term > 0
        torch.testing.assert_close(high - low, term[None], atol=1e-5, rtol=1e-4)
    assert changed(start[0], strategy.model)
    if head is not None:
        assert changed(start[1], head)
        assert parameters_of(strategy.optimizer).count(id(head.weight)) == 1
    assert no_hooks(strategy.model)
    copy.deepcopy(strategy.model)
    pickle.loads(pickle.dumps((strategy.model, simo)))
    strategy.eval(stream.test_stream)


def test_trains_the_encoder(stream):
    """With weight 0 it changes nothing, with another weight it does."""
    models = []
    for plugins in ([], [SimOPlugin(0.0)], [SimOPlugin(1.0)]):
        strategy = stock(Naive, plugins=plugins)
        strategy.train(stream.train_stream[0], shuffle=False)
        models.append(strategy.model)
    assert not changed(models[0], models[1])
    assert changed(models[0].encoder, models[2].encoder)


def test_icarl_trains_on_the_term_from_the_first_batch_on(stream):
    """iCaRL forwards its first batch once without gradients."""
    with_gradient = []

    class Loss(SimOLoss):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            with_gradient.append(embeddings.requires_grad)
            return super().forward(embeddings, labels)

    strategy = icarl(plugins=[SimOPlugin(loss=Loss())])
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert all(with_gradient)


@pytest.mark.parametrize("layer", [None, "feature_extractor"])
def test_both_views_of_scr_count_each_with_its_label(stream, layer):
    """In the features that SCR reads out, not in the layers of its projection."""
    seen = []

    class Loss(SimOLoss):
        def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
            seen.append((embeddings.detach().clone(), labels))
            return super().forward(embeddings, labels)

    @torch.no_grad()
    def by_hand(strategy: Any) -> tuple[Tensor, Tensor]:
        images, more = strategy.mb_x.chunk(2)
        torch.testing.assert_close(images.flip(3), more)
        return strategy.model.feature_extractor(strategy.mb_x), strategy.mb_y

    expected = Witness("before_backward", by_hand)
    strategy = scr(plugins=[expected, SimOPlugin(layer=layer, loss=Loss())])
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert len(seen) == 6
    for (embeddings, labels), (features, once) in zip(seen, expected.seen, strict=True):
        torch.testing.assert_close(embeddings, features)
        assert labels.tolist() == [*once.tolist(), *once.tolist()]


def test_a_layer_by_name_is_pooled(stream):
    def by_hand(strategy: Any) -> Tensor:
        maps = strategy.model.encoder.backbone[:3](strategy.mb_x)
        return SimOLoss()(maps.mean(dim=(2, 3)), strategy.mb_y).detach()

    expected = Witness("before_backward", by_hand)
    before = Witness("before_backward", lambda strategy: strategy.loss.detach().clone())
    after = Witness("before_backward", lambda strategy: strategy.loss.detach().clone())
    simo = SimOPlugin(layer="encoder.backbone.2", head=nn.Linear(2, 2))
    with torch.no_grad():
        simo.head.weight.copy_(torch.eye(2))
        simo.head.bias.zero_()
    model = classifier()
    strategy = stock(
        Naive,
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0),
        plugins=[expected, before, simo, after],
    )
    strategy.train(stream.train_stream[0])
    for term, low, high in zip(expected.seen, before.seen, after.seen, strict=True):
        torch.testing.assert_close(high - low, term[None], atol=1e-5, rtol=1e-4)


def test_an_unknown_layer_is_an_error_before_anything_is_trained(stream):
    strategy = stock(Naive, plugins=[SimOPlugin(layer="encoder.backbon")])
    start = copy.deepcopy(strategy.model)
    message = r"no layer 'encoder\.backbon' in Classifier; it has: encoder, encoder\.backbone,.*"
    with pytest.raises(ValueError, match=message):
        strategy.train(stream.train_stream[0])
    assert not changed(start, strategy.model)


def test_a_layer_that_the_strategy_skips_is_an_error(stream):
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
            self.unused = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

    strategy = stock(Naive, Skipping(), plugins=[SimOPlugin()])
    with pytest.raises(ValueError, match=r"go through the input of the last nn\.Linear; name"):
        strategy.train(stream.train_stream[0])
    assert no_hooks(strategy.model)


def test_a_layer_with_other_rows_is_an_error(stream):
    model = nn.Sequential(nn.Unfold(4), nn.Flatten(0, 1), nn.Unflatten(0, (-1, 16)), nn.Flatten())
    model.append(nn.Linear(16 * 25, 6))
    strategy = stock(Naive, model, plugins=[SimOPlugin(layer="1")])
    with pytest.raises(ValueError, match="layer '1' gave 256 rows for 16 labels; name one with"):
        strategy.train(stream.train_stream[0])


class TestHead:
    @pytest.mark.parametrize("remove_params", [False, True])
    @pytest.mark.parametrize("groups", [1, 2])
    def test_stays_in_the_first_group(self, stream, groups, remove_params):
        model, head = classifier(), nn.Linear(NUM_FEATURES, 4)
        parts = [model.encoder, model.classifier] if groups == 2 else [model]
        optimizer = torch.optim.SGD(
            [{"params": part.parameters(), "lr": 0.05 / (i + 1)} for i, part in enumerate(parts)],
            lr=0.1,
            momentum=0.9,
        )
        sizes = [len(group["params"]) for group in optimizer.param_groups]
        strategy = stock(Naive, model, optimizer=optimizer, plugins=[SimOPlugin(head=head)])
        for experience in stream.train_stream:
            before = copy.deepcopy(head)
            strategy.train(experience, remove_params=remove_params)
            assert changed(before, head)
            assert [len(g["params"]) for g in optimizer.param_groups] == [
                sizes[0] + 2,
                *sizes[1:],
            ]
            assert {id(p) for p in head.parameters()} <= {
                id(p) for p in optimizer.param_groups[0]["params"]
            }
        assert len(list(model.parameters())) == sum(sizes)

    @pytest.mark.parametrize("groups", [1, 2])
    def test_follows_a_one_cycle_schedule(self, stream, groups):
        model, head = classifier(), nn.Linear(NUM_FEATURES, 4)
        parts = [model.encoder, model.classifier] if groups == 2 else [model]
        optimizer = torch.optim.SGD(
            [{"params": list(part.parameters())} for part in parts], lr=0.01, momentum=0.9
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=12)
        rates = Witness("before_update", lambda s: s.optimizer.param_groups[0]["lr"])
        one_cycle = LRSchedulerPlugin(
            schedule, step_granularity="iteration", reset_scheduler=False, reset_lr=False
        )
        simo = SimOPlugin(head=head)
        strategy = stock(Naive, model, optimizer=optimizer, plugins=[simo, one_cycle, rates])
        for experience in stream.train_stream:
            before = copy.deepcopy(head)
            strategy.train(experience)
            assert changed(before, head)
        assert max(rates.seen) == pytest.approx(0.1, rel=0.05)
        assert len(set(rates.seen)) > 5

    def test_keeps_its_momentum_between_experiences(self, stream):
        head = nn.Linear(NUM_FEATURES, 4)
        strategy = stock(Naive, plugins=[SimOPlugin(head=head)])
        strategy.train(stream.train_stream[0])
        momentum = strategy.optimizer.state[head.weight]["momentum_buffer"].clone()
        assert momentum.any()
        start = Witness(
            "before_forward", lambda s: s.optimizer.state[head.weight]["momentum_buffer"].clone()
        )
        strategy.plugins.append(start)
        strategy.train(stream.train_stream[1])
        assert torch.equal(start.seen[0], momentum)

    def test_a_loss_with_weights_trains_as_it_does(self, stream):
        head, loss = nn.Linear(NUM_FEATURES, 4), metric_loss("ProxyAnchorLoss", **SIZES)
        strategy = stock(Naive, plugins=[SimOPlugin(loss=loss, head=head)])
        for experience in stream.train_stream[:2]:
            before = copy.deepcopy(loss)
            strategy.train(experience)
            assert changed(before, loss)
            assert parameters_of(strategy.optimizer).count(id(loss.loss.proxies)) == 1

    def test_a_copied_strategy_trains_its_own(self, stream):
        strategy = stock(Naive, plugins=[SimOPlugin(head=nn.Linear(NUM_FEATURES, 4))])
        strategy.train(stream.train_stream[0])
        twin = copy.deepcopy(strategy)
        (own,) = (p.head for p in strategy.plugins if isinstance(p, SimOPlugin))
        (other,) = (p.head for p in twin.plugins if isinstance(p, SimOPlugin))
        before = copy.deepcopy((own, other))
        twin.train(stream.train_stream[1])
        assert not changed(before[0], own)
        assert changed(before[1], other)


def test_can_be_copied_between_iterations(stream):
    """Graphs of past iterations are not kept."""
    simo = SimOPlugin(head=nn.Linear(NUM_FEATURES, 4))
    copies = Witness("after_training_iteration", lambda strategy: copy.deepcopy(simo))
    strategy = stock(Naive, plugins=[simo, copies])
    strategy.train(stream.train_stream[0])
    assert len(copies.seen) == 3


@pytest.mark.parametrize("loss", [SupConLoss(), simo_loss])
def test_takes_any_loss_of_embeddings_and_labels(stream, loss):
    losses = Witness("after_training_iteration", lambda s: s.loss.item())
    simo = SimOPlugin(loss=loss)
    stock(Naive, plugins=[simo, losses]).train(stream.train_stream[0])
    assert all(value > 0 for value in losses.seen)
    simo.load_state_dict(simo.state_dict())


def test_runs_without_a_device(stream):
    """No value of a tensor is read in an iteration, so that a GPU never waits."""
    simo = SimOPlugin(head=nn.Linear(NUM_FEATURES, 4))
    strategy = stock(Naive, classifier().to("meta"), device="meta", plugins=[simo])
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    assert simo.head.weight.device.type == "meta"
    assert simo.head.weight.grad is not None


def changed(before: nn.Module, after: nn.Module) -> bool:
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return any(not torch.equal(a, b) for a, b in pairs)


def no_hooks(model: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def parameters_of(optimizer: torch.optim.Optimizer) -> list[int]:
    return [id(p) for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize(
    ("weight", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("a", TypeError)],
)
def test_a_weight_that_is_none_is_refused(weight, error):
    with pytest.raises(error, match=r"^weight is .*; it must be"):
        SimOPlugin(weight=weight)
