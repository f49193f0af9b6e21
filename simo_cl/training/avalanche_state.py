"""What Avalanche's strategies, plugins and memories remember, as tensors and primitives.

Avalanche's own checkpoints pickle whole objects, which runs code when they are loaded. Here, each
class that remembers something has a pair of functions; images that a memory holds are named by
their rows in the data.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import getgeneratorlocals
from typing import Any, NamedTuple

import torch
from avalanche.benchmarks.utils import AvalancheDataset, concat_datasets, make_avalanche_dataset
from avalanche.benchmarks.utils.data_attribute import TensorDataAttribute
from avalanche.benchmarks.utils.flat_data import FlatData
from avalanche.training.losses import ICaRLLossPlugin
from avalanche.training.plugins import MIRPlugin, ReplayPlugin
from avalanche.training.plugins.mir import cycle
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer
from avalanche.training.supervised import DER, ER_ACE
from avalanche.training.supervised.icarl import _ICaRLPlugin
from torch.utils.data import DataLoader

from simo_cl.streams.resident import ResidentDataset

State = dict[str, Any]


class NotResumableError(Exception):
    """Something remembers what cannot be saved, or cannot be brought back."""


class Adapter(NamedTuple):
    """How to save and bring back what an object of one class remembers.

    Attributes:
        save: the object to its state.
        load: the object, such a state, the strategy that the object is part of, and data whose
            store has the rows that the state names.
    """

    save: Callable[[Any], State]
    load: Callable[[Any, State, Any, ResidentDataset], None]


def save_memory(buffer: ClassBalancedBuffer) -> State:
    """The state of a memory that has a reservoir for each class.

    Raises:
        NotResumableError: another kind of memory, or of samples in it.
    """
    if not hasattr(buffer, "seen_classes"):
        raise NotResumableError(f"it is not known what a {type(buffer).__name__} remembers")
    # In the order in which the classes came.
    groups = [
        {
            "class": label,
            "size": group.max_size,
            "weights": group._buffer_weights,
            **_save_samples(group.buffer),
        }
        for label, group in buffer.buffer_groups.items()
    ]
    return {"groups": groups}


def load_memory(buffer: ClassBalancedBuffer, state: State, data: ResidentDataset) -> None:
    """Fills a memory as :func:`save_memory` found it."""
    # The first classes of the set get the slots that are left over. What comes first depends on the
    # order in which they were added, which is that of the groups.
    buffer.seen_classes = set()
    buffer.buffer_groups = {}
    for saved in state["groups"]:
        buffer.seen_classes.add(saved["class"])
        group = ReservoirSamplingBuffer(saved["size"])
        group.buffer = _load_samples(saved, data)
        group._buffer_weights = saved["weights"]
        buffer.buffer_groups[saved["class"]] = group


def _save_samples(samples: AvalancheDataset) -> State:
    if isinstance(samples, ResidentDataset):
        return {"rows": samples.rows, "group": samples.group}
    rows = [samples[i] for i in range(len(samples))]
    if len({row.group for row in rows}) != 1 or not hasattr(samples, "logits"):
        raise NotResumableError(f"a memory holds samples of a {type(samples).__name__}")
    return {
        "rows": [row.number for row in rows],
        "group": rows[0].group,
        "logits": torch.stack([torch.as_tensor(samples.logits[i]) for i in range(len(samples))]),
    }


def _load_samples(state: State, data: ResidentDataset) -> AvalancheDataset:
    samples = ResidentDataset(data.store, state["rows"], state["group"])
    if "logits" not in state:
        return samples
    logits = FlatData([list(state["logits"].unbind())], discard_elements_not_in_indices=True)
    attribute = TensorDataAttribute(logits, name="logits", use_in_getitem=True)
    return make_avalanche_dataset(samples, data_attributes=[attribute])


def _save_policy(owner: Any) -> State:
    return save_memory(owner.storage_policy)


def _load_policy(owner: Any, state: State, strategy: Any, data: ResidentDataset) -> None:
    load_memory(owner.storage_policy, state, data)


def _save_mir(plugin: MIRPlugin) -> State:
    replayed: list[int] | None = None
    if plugin.replay_loader is not None:
        # The plugin left out the classes of the last batch, and keeps only the endless loader.
        loader = getgeneratorlocals(plugin.replay_loader)["loader"]
        held = {int(label) for label in loader.dataset.targets}
        replayed = [label for label in plugin.storage_policy.buffer_groups if label in held]
    return {"memory": save_memory(plugin.storage_policy), "replayed": replayed}


def _load_mir(plugin: MIRPlugin, state: State, strategy: Any, data: ResidentDataset) -> None:
    load_memory(plugin.storage_policy, state["memory"], data)
    plugin.replay_loader = None
    if state["replayed"] is not None:
        groups = plugin.storage_policy.buffer_groups
        samples = concat_datasets([groups[label].buffer for label in state["replayed"]])
        loader = DataLoader(samples, batch_size=plugin.subsample, shuffle=True)
        plugin.replay_loader = cycle(loader)


_OF_ICARL = ("x_memory", "y_memory", "order", "observed_classes", "class_means")
_SIZES_OF_ICARL = ("embedding_size", "output_size", "input_size")


def _save_icarl(plugin: _ICaRLPlugin) -> State:
    sizes = {"embedding_size": plugin.embedding_size, "output_size": plugin.output_size}
    shape = None if plugin.input_size is None else list(plugin.input_size)
    return {**{name: getattr(plugin, name) for name in _OF_ICARL}, **sizes, "input_size": shape}


def _load_icarl(plugin: _ICaRLPlugin, state: State, strategy: Any, data: ResidentDataset) -> None:
    for name in (*_OF_ICARL, *_SIZES_OF_ICARL):
        setattr(plugin, name, state[name])
    device = strategy.device
    plugin.x_memory = [images.to(device) for images in plugin.x_memory]
    plugin.class_means = {label: mean.to(device) for label, mean in plugin.class_means.items()}
    if plugin.class_means:
        strategy.model.eval_classifier.replace_class_means_dict(plugin.class_means)


def _save_icarl_loss(plugin: ICaRLLossPlugin) -> State:
    old = None if plugin.old_model is None else plugin.old_model.state_dict()
    return {"old_classes": plugin.old_classes, "old_model": old}


def _load_icarl_loss(
    plugin: ICaRLLossPlugin, state: State, strategy: Any, data: ResidentDataset
) -> None:
    plugin.old_classes = state["old_classes"]
    if state["old_model"] is not None:
        plugin.old_model = deepcopy(strategy.model).to(strategy.device)
        plugin.old_model.load_state_dict(state["old_model"])


ADAPTERS: dict[type, Adapter] = {
    ER_ACE: Adapter(_save_policy, _load_policy),
    DER: Adapter(_save_policy, _load_policy),
    ReplayPlugin: Adapter(_save_policy, _load_policy),
    MIRPlugin: Adapter(_save_mir, _load_mir),
    _ICaRLPlugin: Adapter(_save_icarl, _load_icarl),
    ICaRLLossPlugin: Adapter(_save_icarl_loss, _load_icarl_loss),
}
