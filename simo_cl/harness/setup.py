"""What a strategy file is given to build its strategy from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch import Tensor, nn
from torch.optim import Optimizer

from simo_cl.harness.settings import RunSettings
from simo_cl.models import (
    Classifier,
    EmbeddingModel,
    Encoder,
    Head,
    ReadOut,
    build_encoder,
    projection_head,
)
from simo_cl.streams import DataSet
from simo_cl.streams.augmentation import evaluation_transform
from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.replay_memory import ClassBalancedMemory
from simo_cl.training.step_budget import ENDLESS_EPOCHS, StepBudget

_IMAGES_TO_WHITEN_BY = 2000
"""Of the first experience, evenly spread."""

_IMAGES_AT_ONCE = 250


@dataclass(frozen=True)
class Setup:
    """The parts that all strategies share: data shape, encoder, optimizer, sizes and budget.

    Attributes:
        run: the run's settings.
        data: the data set, for the shape of its images and the number of its classes.
        device: to train on.
        steps: optimizer steps of each experience.
        on_step: called after every optimizer step.
        first_rows: of the data set's training images, those of the first experience, which an
            encoder with a whitening layer takes its filters from; also where training is joint.
    """

    run: RunSettings
    data: DataSet
    device: torch.device
    steps: list[int]
    on_step: Callable[[int], None] | None = None
    first_rows: Tensor | None = None

    @property
    def num_classes(self) -> int:
        return self.data.num_classes

    @property
    def black(self) -> list[float]:
        """The normalized value of a black pixel, by channel."""
        return [-mean / std for mean, std in zip(self.data.mean, self.data.std, strict=True)]

    @property
    def seed(self) -> int:
        return self.run.seed

    @property
    def memory_size(self) -> int:
        return self.run.memory.size

    @property
    def batch_size(self) -> int:
        """Images forwarded a step, views and memory counted."""
        return self.run.training.batch_size

    @property
    def new_share(self) -> float:
        return self.run.training.new_share

    @property
    def new_batch_size(self) -> int:
        """Of ``batch_size``, the images of the current experience once there is a memory."""
        return round(self.batch_size * self.new_share)

    @property
    def memory_batch_size(self) -> int:
        return self.batch_size - self.new_batch_size

    @property
    def online(self) -> bool:
        """Whether each batch is passed over once, with the memory updated after it."""
        return self.run.stream.protocol == "online"

    def replay(
        self,
        views: int = 1,
        memory_batch_size: int | None = None,
        *,
        replays_current: bool = False,
    ) -> BalancedReplayPlugin | OnlineReplayPlugin:
        """The plugin that makes batches of new data and of a class-balanced memory.

        Args:
            views: how often each sample stands in its batch.
            memory_batch_size: samples drawn from the memory, in the online protocol; default: the
                suite's ``stream.replay_batch_size``.
            replays_current: have the current experience's samples in the memory while training on
                it; in the online protocol they always are, from the next batch on.
        """
        if not self.online:
            return BalancedReplayPlugin(
                self.memory_size,
                self.batch_size,
                new_share=self.new_share,
                views=views,
                replays_current=replays_current,
                seed=self.seed,
            )
        return OnlineReplayPlugin(
            ClassBalancedMemory(self.memory_size, seed=self.seed),
            batch_size=self.new_batch_size,
            memory_batch_size=memory_batch_size or self.memory_batch_size,
            updates=self.run.stream.updates_per_batch,
            views=views,
            seed=self.seed,
        )

    def stock_replay(self) -> ReplayPlugin | OnlineReplayPlugin:
        """Avalanche's replay, with a class-balanced memory; online, :meth:`replay`."""
        if self.online:
            return self.replay()
        return ReplayPlugin(
            mem_size=self.memory_size,
            batch_size=self.new_batch_size,
            batch_size_mem=self.memory_batch_size,
            storage_policy=ClassBalancedBuffer(self.memory_size, adaptive_size=True),
        )

    def encoder(self) -> Encoder:
        """The encoder, with the same initial weights for every strategy of the same seed.

        Raises:
            ValueError: it has a whitening layer, and ``first_rows`` is not given.
        """
        model = self.run.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encoder = build_encoder(
                model.encoder,
                channels=self.data.channels,
                width=model.width,
                norm=model.norm,
                precision=model.precision,
                frozen=model.freeze,
            )
        encoder.fit_whitening(self._first_images())
        return encoder

    def _first_images(self) -> Iterator[Tensor]:
        if self.first_rows is None:
            raise ValueError(
                f"the encoder {self.run.model.encoder!r} whitens by the images of the first "
                "experience; give their rows to Setup as first_rows"
            )
        count = min(len(self.first_rows), _IMAGES_TO_WHITEN_BY)
        spread = torch.arange(count) * len(self.first_rows) // count
        normalise = evaluation_transform(self.data)
        for rows in self.first_rows[spread].split(_IMAGES_AT_ONCE):
            yield normalise(self.data.train.images[rows])

    def classifier(self) -> Classifier:
        return Classifier(self.encoder(), self.num_classes)

    def embedding_model(
        self, head: Head, dimension: int, read_out: ReadOut = "features"
    ) -> EmbeddingModel:
        encoder = self.encoder()
        projection = projection_head(head, encoder.num_features, dimension)
        return EmbeddingModel(encoder, projection, self.num_classes, read_out)

    def optimizer(self, model: nn.Module, lr: float) -> Optimizer:
        """The suite's optimizer, with ``model.lr_factor`` times the learning rate for encoders.

        Raises:
            ValueError: the encoder is frozen, and nothing else has weights to train.
        """
        if not any(p.requires_grad for p in model.parameters()):
            raise ValueError(
                "model.freeze is true, and there are no weights but the encoder's; give the "
                "strategy a head, such as head: linear, or train the encoder"
            )
        training, groups = self.run.training, self._parameter_groups(model, lr)
        if training.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=lr, weight_decay=training.weight_decay)
        return torch.optim.SGD(
            groups,
            lr=lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )

    def _parameter_groups(self, model: nn.Module, lr: float) -> Iterable[Any]:
        factor = self.run.model.lr_factor
        if factor == 1:
            return model.parameters()
        encoders = nn.ModuleList(m for m in model.modules() if isinstance(m, Encoder))
        inside = set(encoders.parameters())
        # The encoder's last: what plugins add comes to the first.
        return [
            {"params": [p for p in model.parameters() if p not in inside]},
            {"params": list(encoders.parameters()), "lr": factor * lr},
        ]

    def budget(self, batch_sizes: tuple[int, int] | None = None) -> StepBudget:
        """The plugin that ends each experience after its steps; every strategy needs it.

        Args:
            batch_sizes: see :class:`StepBudget`; ``separate_memory_batches`` for strategies that
                read their memory beside their own loader.
        """
        return StepBudget(
            self.steps,
            schedule=self.run.training.schedule,
            batch_sizes=batch_sizes,
            on_step=self.on_step,
        )

    @property
    def separate_memory_batches(self) -> tuple[int, int]:
        """Sizes of the new data's batches: the whole batch first, its share once there is a
        memory. Online, each small experience is a batch."""
        return self.batch_size, self.batch_size if self.online else self.new_batch_size

    def arguments(self) -> dict[str, Any]:
        """What every Avalanche strategy takes besides model, optimizer and plugins."""
        return {
            "train_epochs": ENDLESS_EPOCHS,
            "eval_mb_size": self.run.evaluation.batch_size,
            "device": self.device,
            "evaluator": EvaluationPlugin(loggers=[BaseLogger()]),
        }

    def stock_arguments(self, model: nn.Module, lr: float) -> dict[str, Any]:
        """:meth:`arguments` with model, optimizer and batch size, for Avalanche's own
        strategies."""
        return {
            "model": model,
            "optimizer": self.optimizer(model, lr),
            "train_mb_size": self.batch_size,
            **self.arguments(),
        }
