"""Online replay: each batch of new data once, with a draw from a memory updated after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.plugins import SupervisedPlugin
from numpy.typing import NDArray
from torch import Tensor

from simo_cl.streams.resident import ResidentDataset
from simo_cl.training.online_batches import batch_ends
from simo_cl.training.replay_memory import ClassBalancedMemory, ReservoirMemory


class OnlineReplayPlugin(SupervisedPlugin):
    """Makes a strategy train online: batches of new data and of a memory updated after each.

    One ``train`` call an experience then means what Avalanche's ``split_online_stream`` means with
    one small experience a batch, without the cost of making, adapting to and leaving each of those.
    Small experiences work, too. Each epoch passes once over the experience, in random order.

    Args:
        memory: what is replayed; it sees every new sample once an epoch.
        batch_size: new samples a batch; a last one of a single sample, which batch normalization
            cannot train on, joins the one before.
        memory_batch_size: samples drawn from the memory a batch, as far as it has them.
        updates: optimizer steps on each batch of new data; the memory is drawn from anew for each
            and updated after the last.
        views: how often each sample stands in its batch, augmented anew each time.
        seed: of the order of the new samples.

    Attributes:
        memory: as given.
        new_samples: of the current batch, which stand first in each of its views.
        new_classes: (number of classes,), of the last experience trained on, on its device.

    Raises:
        ValueError: a size below 1; or, when an experience starts, data with task labels, images of
            another store than those that the memory has, or more classes than fit into a
            class-balanced memory.
        TypeError: when an experience starts, data that are no :class:`simo_cl.ResidentDataset`.

    Example:
        >>> online = OnlineReplayPlugin(ClassBalancedMemory(200), batch_size=10, updates=2)
        >>> online.memory.size
        200
    """

    def __init__(
        self,
        memory: ReservoirMemory | ClassBalancedMemory,
        *,
        batch_size: int = 10,
        memory_batch_size: int = 10,
        updates: int = 1,
        views: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {
            "batch_size": batch_size,
            "memory_batch_size": memory_batch_size,
            "updates": updates,
            "views": views,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be 1 or more")
        self.memory = memory
        self.batch_size = batch_size
        self.memory_batch_size = memory_batch_size
        self.updates = updates
        self.views = views
        self.new_samples = 0
        self.new_classes = torch.zeros(0, dtype=torch.int64)
        self._generator = np.random.default_rng(seed)
        self._order: NDArray[np.int64] | None = None
        self._steps_of_pass = 0
        self._data: ResidentDataset | None = None
        self._new: ResidentDataset | None = None

    @property
    def memory_size(self) -> int:
        """Samples that the memory may hold."""
        return self.memory.size

    @property
    def memory_dataset(self) -> AvalancheDataset:
        """The samples in the memory, as an Avalanche data set."""
        if self._data is None:
            return AvalancheDataset([])
        return ResidentDataset(self._data.store, self.memory.rows, self._data.group)

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self._check(strategy.adapted_dataset)
        self._data = strategy.adapted_dataset
        self.new_classes = torch.as_tensor(np.unique(self._data.labels), device=strategy.device)
        self._order = None
        strategy.dataloader = _Epoch(self, self._data)

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if self._new is not None:
            self.memory.update(self._new.rows, self._new.labels)
            self._new = None

    def batches(self, data: ResidentDataset) -> Iterator[list[Tensor]]:
        """One pass over the data, in random order: images, labels and task labels.

        After :meth:`load_state_dict` it is what is left of the pass that was interrupted.
        """
        tasks = torch.zeros(0, dtype=torch.int64)
        order = self._order
        if order is None:
            order = self._order = self._generator.permutation(len(data))
            self._steps_of_pass = 0
        ends = batch_ends(len(data), self.batch_size)
        steps = len(ends) * self.updates
        for step in range(self._steps_of_pass, steps):
            batch, update = divmod(step, self.updates)
            new = data.subset(order[batch * self.batch_size : ends[batch]])
            self.new_samples = len(new)
            rows = np.concatenate([new.rows, self.memory.sample(self.memory_batch_size)])
            images, labels = data.store.batch(np.tile(rows, self.views), data.group)
            if len(tasks) != len(labels):
                tasks = torch.zeros_like(labels)
            self._new = new if update == self.updates - 1 else None
            self._steps_of_pass = step + 1
            if self._steps_of_pass == steps:
                self._order = None
            yield [images, labels, tasks]

    def steps_in(self, data: ResidentDataset) -> int:
        """Steps in a pass over the data."""
        return len(batch_ends(len(data), self.batch_size)) * self.updates

    def state_dict(self) -> dict[str, Any]:
        """The memory, the generator, and the place in a pass, as it is between two steps."""
        return {
            "memory": self.memory.state_dict(),
            "generator": self._generator.bit_generator.state,
            "order": self._order,
            "steps_of_pass": self._steps_of_pass,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.load_state_dict(state["memory"])
        self._generator.bit_generator.state = state["generator"]
        self._order = None if state["order"] is None else np.asarray(state["order"])
        self._steps_of_pass = state["steps_of_pass"]

    def _check(self, data: Any) -> None:
        if not isinstance(data, ResidentDataset):
            raise TypeError(
                f"the experience's data are a {type(data).__name__}; OnlineReplayPlugin needs a "
                "simo_cl.ResidentDataset: take the stream from simo_cl.class_incremental, or wrap "
                "your data by simo_cl.resident_dataset"
            )
        if data.tasks is not None:
            raise ValueError(
                "the experience's data have task labels; OnlineReplayPlugin is for streams without"
            )
        if self._data is not None and data.store is not self._data.store:
            raise ValueError(
                "the experience's images are of another store than those in the memory; make all "
                "experiences of a stream from one data set"
            )
        num_classes = len(np.union1d(self.memory.labels, data.labels))
        if isinstance(self.memory, ClassBalancedMemory) and num_classes > self.memory_size:
            raise ValueError(
                f"memory size is {self.memory_size}, but {num_classes} classes will have been seen "
                "after this experience and each needs at least one sample in it; raise the size"
            )


class _Epoch:
    """A pass over an experience, as a data loader."""

    def __init__(self, replay: OnlineReplayPlugin, data: ResidentDataset) -> None:
        self._replay = replay
        self._data = data

    def __len__(self) -> int:
        return self._replay.steps_in(self._data)

    def __iter__(self) -> Iterator[list[Tensor]]:
        return self._replay.batches(self._data)
