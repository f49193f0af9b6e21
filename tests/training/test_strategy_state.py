"""What strategies remember, saved and brought back between experiences."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from avalanche.training.plugins import LwFPlugin, MIRPlugin, ReplayPlugin, SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ExperienceBalancedBuffer
from avalanche.training.supervised import DER, ER_ACE, Naive
from parts import classifier, embedding_model, icarl, quiet, stock
from torch import Tensor, nn

from simo_cl import (
    BalancedReplayPlugin,
    ClassBalancedMemory,
    ContrastiveReplay,
    OnlineReplayPlugin,
    SimOPlugin,
)
from simo_cl.losses import SimOLoss
from simo_cl.streams.image_store import ImageStore
from simo_cl.streams.resident import ResidentDataset
from simo_cl.training.avalanche_state import (
    NotResumableError,
    State,
    load_memory,
    save_memory,
)
from simo_cl.training.distillation import RelationDistillation
from simo_cl.training.metric_loss import metric_loss
from simo_cl.training.strategy_state import (
    load_optimizer,
    load_strategy,
    portable,
    save_strategy,
)


def with_head() -> Any:
    torch.manual_seed(1)
    head = nn.Linear(classifier().encoder.num_features, 8)
    return stock(Naive, plugins=[SimOPlugin(head=head)])


def contrastive(loss: nn.Module, *plugins: SupervisedPlugin) -> Any:
    model = embedding_model()
    return ContrastiveReplay(
        model=model,
        optimizer=torch.optim.AdamW([*model.parameters(), *loss.parameters()]),
        loss=loss,
        replay=BalancedReplayPlugin(24, 16),
        plugins=plugins,
        evaluator=quiet(),
    )


def with_class_weights() -> Any:
    return contrastive(metric_loss("ProxyAnchorLoss", num_classes=6, embedding_size=8))


STRATEGIES: dict[str, Callable[[], Any]] = {
    "naive": lambda: stock(Naive),
    "replay": lambda: stock(
        Naive, plugins=[ReplayPlugin(24, storage_policy=ClassBalancedBuffer(24))]
    ),
    "er_ace": lambda: stock(ER_ACE, mem_size=24, batch_size_mem=4),
    "der": lambda: stock(DER, mem_size=24, batch_size_mem=4),
    "mir": lambda: stock(Naive, plugins=[MIRPlugin(4, mem_size=24, subsample=8)]),
    "icarl": lambda: icarl(plugins=[]),
    "simo plugin with a head": with_head,
    "online": lambda: stock(Naive, plugins=[OnlineReplayPlugin(ClassBalancedMemory(24))]),
    "contrastive": lambda: contrastive(SimOLoss()),
    "class weights": with_class_weights,
    "distillation": lambda: contrastive(SimOLoss(), RelationDistillation()),
}


class OptimizerBack(SupervisedPlugin):
    """Brings the optimizer's state back where it may be."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state: State | None = state

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        if self._state is not None:
            load_optimizer(strategy, self._state)
        self._state = None


def train(strategy: Any, experience: Any) -> None:
    torch.manual_seed(experience.current_experience)
    strategy.train(experience, eval_streams=[])


def weights(strategy: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in strategy.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def through_a_file(state: State) -> State:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_brought_back_trains_on_bit_for_bit(name: str, stream: Any) -> None:
    first, second, third = stream.train_stream
    undisturbed = STRATEGIES[name]()
    train(undisturbed, first)
    train(undisturbed, second)
    state = through_a_file(save_strategy(undisturbed))
    train(undisturbed, third)

    brought_back = STRATEGIES[name]()
    load_strategy(brought_back, state, first.dataset)
    brought_back.plugins.append(OptimizerBack(state))
    train(brought_back, third)
    assert same(weights(brought_back), weights(undisturbed))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_state_is_a_copy(name: str, stream: Any) -> None:
    strategy = STRATEGIES[name]()
    train(strategy, stream.train_stream[0])
    state = save_strategy(strategy)
    before = through_a_file(state)
    train(strategy, stream.train_stream[1])
    after = through_a_file(state)
    assert same(before["model"], after["model"])
    assert str(before["plugins"]) == str(after["plugins"])
    assert str(before["strategy"]) == str(after["strategy"])


def test_the_model_that_is_distilled_from_is_part_of_the_state(stream: Any) -> None:
    strategy = STRATEGIES["distillation"]()
    train(strategy, stream.train_stream[0])
    before = weights(strategy)
    train(strategy, stream.train_stream[1])
    state = through_a_file(save_strategy(strategy))
    brought_back = STRATEGIES["distillation"]()
    load_strategy(brought_back, state, stream.train_stream[0].dataset)
    (past,) = (p.past for p in brought_back.plugins if isinstance(p, RelationDistillation))
    assert same(past.state_dict(), before)
    assert not past.training
    assert not same(weights(brought_back), before)


@pytest.mark.parametrize(
    ("build", "missing"),
    [
        (lambda: stock(Naive, plugins=[LwFPlugin()]), "LwFPlugin has no state_dict"),
        (lambda: stock(type("Mine", (Naive,), {})), "Mine has no state_dict"),
    ],
)
def test_what_is_not_known_is_refused(build: Callable[[], Any], missing: str) -> None:
    with pytest.raises(NotResumableError, match=missing):
        save_strategy(build())


def test_a_memory_that_is_not_known_is_refused(stream: Any) -> None:
    plugin = ReplayPlugin(24, storage_policy=ExperienceBalancedBuffer(24))
    with pytest.raises(NotResumableError, match="ExperienceBalancedBuffer"):
        save_strategy(stock(Naive, plugins=[plugin]))


def test_the_slots_left_over_in_a_memory_brought_back_go_to_the_same_classes() -> None:
    """Of some classes a set has another order than one that is made of it."""
    labels = torch.tensor([0, 5, 13, 16]).repeat_interleave(3)
    store = ImageStore("four classes", torch.zeros(12, 1, 8, 8, dtype=torch.uint8), labels, {})
    first, second = ResidentDataset(store, range(9)), ResidentDataset(store, range(9, 12))
    undisturbed, brought_back = ClassBalancedBuffer(5), ClassBalancedBuffer(5)
    undisturbed.update_from_dataset(first)
    load_memory(brought_back, through_a_file(portable(save_memory(undisturbed))), first)
    for memory in (undisturbed, brought_back):
        torch.manual_seed(0)
        memory.update_from_dataset(second)
    assert brought_back.buffer == undisturbed.buffer
    assert [len(part) for part in undisturbed.buffer_datasets] == [2, 1, 1, 1]


def test_a_strategy_with_other_plugins_is_refused(stream: Any) -> None:
    state = save_strategy(STRATEGIES["naive"]())
    with pytest.raises(NotResumableError, match=r"has the plugins .*MIRPlugin.*, the saved one"):
        load_strategy(STRATEGIES["mir"](), state, stream.train_stream[0].dataset)


class Counter(SupervisedPlugin):
    """A user's plugin that takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self.count += 1

    def state_dict(self) -> State:
        return {"count": self.count}

    def load_state_dict(self, state: State) -> None:
        self.count = state["count"]


def test_a_plugin_of_your_own_takes_part(stream: Any) -> None:
    strategy = stock(Naive, plugins=[Counter()])
    train(strategy, stream.train_stream[0])
    state = through_a_file(save_strategy(strategy))
    other = stock(Naive, plugins=[counter := Counter()])
    load_strategy(other, state, stream.train_stream[0].dataset)
    assert counter.count == 3
