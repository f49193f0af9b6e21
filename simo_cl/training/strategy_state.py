"""Everything that a strategy in training remembers, as tensors and primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.supervised import ICaRL, Naive
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from simo_cl.models import Encoder
from simo_cl.streams.resident import ResidentDataset
from simo_cl.training.avalanche_state import (
    ADAPTERS,
    Adapter,
    NotResumableError,
    State,
    load_memory,
    save_memory,
)
from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.distillation import RelationDistillation

# Besides their model, optimizer and plugins, which everything that trains has.
_REMEMBER_NOTHING = (Naive, ICaRL, EvaluationPlugin, PeriodicEval)


def save_strategy(strategy: Any) -> State:
    """What a strategy remembers between two steps.

    Strategies and plugins of your own take part by ``state_dict()`` and ``load_state_dict(state)``,
    with tensors, arrays, numbers, texts, lists and dictionaries inside.

    Args:
        strategy: any of Avalanche's templates; its model, its optimizer, each of its plugins and
            its own attributes are saved, the experience that it trains on is not.

    Returns:
        A copy: training goes on without changing it.

    Raises:
        NotResumableError: a part remembers something, as far as can be told, and has no
            ``state_dict``.
    """
    state = {
        "strategy": _save(strategy),
        "plugins": [[type(plugin).__name__, _save(plugin)] for plugin in strategy.plugins],
        "model": strategy.model.state_dict(),
        "optimizer": strategy.optimizer.state_dict(),
        "images_forwarded": {
            name: module.images_forwarded for name, module in _encoders(strategy).items()
        },
    }
    return dict(portable(state))


def load_strategy(strategy: Any, state: State, data: ResidentDataset) -> None:
    """Brings back what :func:`save_strategy` saved, the optimizer's state excepted.

    Args:
        strategy: built as the saved one was.
        state: from :func:`save_strategy`.
        data: of the store that the strategy's memory was filled from.

    Raises:
        NotResumableError: the strategy has other parts than the saved one had.
    """
    names = [type(plugin).__name__ for plugin in strategy.plugins]
    saved = [name for name, _ in state["plugins"]]
    if names != saved:
        raise NotResumableError(f"the strategy has the plugins {names}, the saved one had {saved}")
    _load(strategy, state["strategy"], strategy, data)
    for plugin, (_, of_plugin) in zip(strategy.plugins, state["plugins"], strict=True):
        _load(plugin, of_plugin, strategy, data)
    strategy.model.load_state_dict(state["model"])
    for name, module in _encoders(strategy).items():
        module.images_forwarded = state["images_forwarded"][name]


def load_optimizer(strategy: Any, state: State) -> None:
    """Brings back the optimizer's state, once Avalanche has set up its parameter groups.

    Avalanche empties the optimizer when training begins: call this from ``before_training_epoch``.
    """
    strategy.optimizer.load_state_dict(state["optimizer"])


def _save(part: Any) -> State:
    if type(part) in _REMEMBER_NOTHING:
        return {}
    if type(part) in _ADAPTERS:
        return _ADAPTERS[type(part)].save(part)
    if hasattr(part, "state_dict"):
        return dict(part.state_dict())
    raise NotResumableError(
        f"{type(part).__name__} has no state_dict() and load_state_dict(), so it is not known what "
        "it remembers"
    )


def _load(part: Any, state: State, strategy: Any, data: ResidentDataset) -> None:
    if type(part) in _ADAPTERS:
        _ADAPTERS[type(part)].load(part, state, strategy, data)
    elif type(part) not in _REMEMBER_NOTHING:
        part.load_state_dict(state)


def _save_clock(clock: Clock) -> State:
    return dict(vars(clock))


def _load_clock(clock: Clock, state: State, strategy: Any, data: ResidentDataset) -> None:
    vars(clock).update(state)


def _save_balanced(plugin: BalancedReplayPlugin) -> State:
    return {"memory": save_memory(plugin.storage_policy), "batches": plugin.state_dict()}


def _load_balanced(
    plugin: BalancedReplayPlugin, state: State, strategy: Any, data: ResidentDataset
) -> None:
    load_memory(plugin.storage_policy, state["memory"], data)
    plugin.load_state_dict(state["batches"])


def _save_distillation(plugin: RelationDistillation) -> State:
    return {"past": None if plugin.past is None else plugin.past.state_dict()}


def _load_distillation(
    plugin: RelationDistillation, state: State, strategy: Any, data: ResidentDataset
) -> None:
    if state["past"] is not None:
        plugin.keep(strategy.model).load_state_dict(state["past"])


_ADAPTERS = {
    **ADAPTERS,
    Clock: Adapter(_save_clock, _load_clock),
    BalancedReplayPlugin: Adapter(_save_balanced, _load_balanced),
    RelationDistillation: Adapter(_save_distillation, _load_distillation),
}


def _encoders(strategy: Any) -> dict[str, Encoder]:
    modules = strategy.model.named_modules()
    return {name: module for name, module in modules if isinstance(module, Encoder)}


def portable(value: Any) -> Any:
    """A copy of nested containers, with arrays as tensors and tensors on the CPU.

    ``torch.save`` writes it, and ``torch.load(..., weights_only=True)`` reads it.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.ndarray):
        return torch.tensor(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {portable(key): portable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(portable, value))
    if isinstance(value, list):
        return list(map(portable, value))
    return value
