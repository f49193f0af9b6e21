"""Class-balanced batches from the current experience and a replay memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import concat_datasets
from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch.utils.data import DataLoader

from simo_cl.training.class_balanced_batches import ClassBalancedBatches


class BalancedReplayPlugin(SupervisedPlugin):
    """Makes a strategy train on :class:`ClassBalancedBatches`, and keeps the memory they need.

    With a plain strategy it is class-balanced experience replay; inside
    :class:`simo_cl.ContrastiveReplay` the same batches train a contrastive loss, so that the two
    differ in the loss alone. The memory is Avalanche's class-balanced reservoir.

    Args:
        memory_size: samples kept, all classes together.
        batch_size: images a batch, views counted.
        new_share: the current classes' share of a batch once there is a memory, in (0, 1).
        views: how often each sample stands in its batch, augmented anew each time.
        replays_current: fill the memory before training on an experience, so that the memory's part
            of a batch has current classes, too; otherwise it is filled afterwards. The first
            experience has no memory either way.
        seed: of the generator that draws the batches; the memory draws from torch's global one.

    Attributes:
        new_classes: (number of classes,), of the last experience trained on, on its device.

    Raises:
        ValueError: when training on an experience starts, a memory that is too small for one sample
            of each class seen, or a batch that is too small (see :class:`ClassBalancedBatches`).

    Example:
        >>> replay = BalancedReplayPlugin(memory_size=200, batch_size=64, new_share=0.5)
    """

    def __init__(
        self,
        memory_size: int,
        batch_size: int,
        *,
        new_share: float = 0.5,
        views: int = 1,
        replays_current: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.new_share = new_share
        self.views = views
        self.replays_current = replays_current
        self.storage_policy = ClassBalancedBuffer(max_size=memory_size, adaptive_size=True)
        self.new_classes = torch.zeros(0, dtype=torch.int64)
        self._generator = np.random.default_rng(seed)
        # For the workers that a loader may have: without one of its own, each pass would draw a
        # seed for them from the global generator.
        self._workers_generator = torch.Generator().manual_seed(seed)
        self._batches: ClassBalancedBatches | None = None

    @property
    def memory_size(self) -> int:
        """Samples that the memory may hold."""
        return self.storage_policy.max_size

    @property
    def memory_dataset(self) -> Any:
        """The samples in the memory, as an Avalanche data set."""
        return self.storage_policy.buffer

    @property
    def new_samples(self) -> int:
        """Of a batch of the experience in training, which stand first in each of its views."""
        return 0 if self._batches is None else self._batches.new_samples

    def before_training_exp(self, strategy: Any, num_workers: int = 0, **kwargs: Any) -> None:
        current, memory = strategy.adapted_dataset, self.memory_dataset
        self._check_memory_size({*_labels(current), *_labels(memory)})
        if self.replays_current:
            self.storage_policy.post_adapt(strategy, strategy.experience)
            memory = self.memory_dataset if len(memory) else memory
        new_labels, old_labels = _labels(current), _labels(memory)
        self.new_classes = torch.tensor(sorted(set(new_labels)), device=strategy.device)
        self._batches = ClassBalancedBatches(
            new_labels,
            old_labels,
            batch_size=self.batch_size,
            new_share=self.new_share,
            views=self.views,
            generator=self._generator,
        )
        dataset = concat_datasets([current, memory]) if len(memory) else current
        strategy.dataloader = DataLoader(
            dataset,
            batch_sampler=self._batches,
            generator=self._workers_generator,
            num_workers=num_workers,
            collate_fn=getattr(dataset, "collate_fn", None),
            pin_memory=strategy.device.type == "cuda",
        )

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        if not self.replays_current:
            self.storage_policy.post_adapt(strategy, strategy.experience)
        self._batches = None

    def state_dict(self) -> dict[str, Any]:
        """The generator and, within an experience, the place in its batches; not the memory, which
        is Avalanche's."""
        batches = None if self._batches is None else self._batches.state_dict()
        return {"generator": self._generator.bit_generator.state, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Within an experience, to be called once training on it has begun."""
        self._generator.bit_generator.state = state["generator"]
        if state["batches"] is not None and self._batches is not None:
            self._batches.load_state_dict(state["batches"])

    def _check_memory_size(self, classes_seen: set[int]) -> None:
        if self.memory_size < len(classes_seen):
            raise ValueError(
                f"memory_size is {self.memory_size}, but {len(classes_seen)} classes "
                "have been seen and each needs at least one sample in the memory; raise memory_size"
            )


def _labels(dataset: Any) -> list[int]:
    return [int(label) for label in dataset.targets] if len(dataset) else []
