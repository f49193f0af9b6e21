"""What the contrastive strategies share: one head, one number of views, one read-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from avalanche.training.plugins import SupervisedPlugin
from pydantic import Field
from torch import Tensor, nn

from simo_cl.harness.settings import Number, PositiveInt, RunSettings, StrategySettings
from simo_cl.harness.setup import Setup
from simo_cl.models import EmbeddingModel, Head, ReadOut
from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay, OnlineReplayPlugin
from simo_cl.training.distillation import RelationDistillation

Loss = Callable[[Tensor, Tensor], Tensor]
"""Called as ``loss(embeddings, labels)``."""


class EmbeddingSettings(StrategySettings):
    """Settings of every strategy built by :func:`embedding_replay`."""

    joint: bool = Field(False, description="train on all classes at once, read out likewise")
    head: Head = "mlp"
    dimension: PositiveInt = Field(128, description="of the embeddings")
    views: Annotated[int, Field(ge=1, le=2)] = 1
    replay_batch_size: PositiveInt | None = Field(
        None, description="in the online protocol, instead of the suite's"
    )
    clip_grad_norm: Annotated[Number, Field(gt=0)] = 1.0

    def check(self, run: RunSettings) -> None:
        if self.replay_batch_size is not None and run.stream.protocol != "online":
            raise ValueError(
                "replay_batch_size is for stream.protocol: online; in the batch protocol, set "
                "training.new_share"
            )

    def plugins(self) -> list[SupervisedPlugin]:
        """Besides those of memory and budget."""
        return []

    def dimension_of(self, model: EmbeddingModel) -> int:
        """Of the model's embeddings: without a head, that of its features."""
        return model.encoder.num_features if self.head == "none" else self.dimension


class DistilledSettings(EmbeddingSettings):
    """Those of a strategy that is read out by nearest class mean and keeps what was near to what:
    Co2L's, where distillation is part of the method."""

    read_out: ReadOut = Field("features", description="space of the nearest class mean")
    distill_weight: Annotated[Number, Field(ge=0)] = 1.0
    distill_temperature: Annotated[Number, Field(gt=0)] = 0.2
    distill_past_temperature: Annotated[Number, Field(gt=0)] = 0.01

    def check(self, run: RunSettings) -> None:
        super().check(run)
        useless = [
            f"{name}: {value}"
            for name, value in self.model_dump(exclude_unset=True).items()
            if name.startswith("distill") and value not in (None, 0)
        ]
        if useless and (self.joint or run.stream.experiences == 1):
            alone = "joint is true" if self.joint else "stream.experiences is 1"
            raise ValueError(
                f"{', '.join(useless)} would do nothing, as {alone} and there is no model before "
                "the experience"
            )

    def model(self, setup: Setup) -> EmbeddingModel:
        """The model that they describe."""
        return setup.embedding_model(self.head, self.dimension, self.read_out)

    def plugins(self) -> list[SupervisedPlugin]:
        distillation = RelationDistillation(
            self.distill_weight,
            temperature=self.distill_temperature,
            past_temperature=self.distill_past_temperature,
        )
        return [distillation]


class ContrastiveSettings(DistilledSettings):
    """Those of a strategy that differs from the others in its loss alone."""

    distill: Literal["ird"] | None = Field(
        None, description="from the model before the experience, by instance-wise relations"
    )

    def check(self, run: RunSettings) -> None:
        useless = [name for name in self.model_fields_set if name.startswith("distill_")]
        if self.distill is None and useless:
            raise ValueError(
                f"{', '.join(sorted(useless))} would do nothing without distill: ird; set it, too"
            )
        super().check(run)

    def plugins(self) -> list[SupervisedPlugin]:
        return super().plugins() if self.distill == "ird" else []


def contrastive_replay(
    setup: Setup, settings: ContrastiveSettings, loss: Loss
) -> ContrastiveReplay:
    """A :class:`ContrastiveReplay` that differs from the others in its loss alone."""
    return embedding_replay(setup, settings, settings.model(setup), loss)


def embedding_replay(
    setup: Setup,
    settings: EmbeddingSettings,
    model: EmbeddingModel,
    loss: Loss,
    replay: BalancedReplayPlugin | OnlineReplayPlugin | None = None,
) -> ContrastiveReplay:
    """The same training for a model with another read-out, or a loss made to fit its model.

    Args:
        setup: as a strategy file is given it.
        settings: the strategy's own.
        model: to train.
        loss: as ``loss(embeddings, labels)``; weights that it has train with the model's.
        replay: from :func:`replay_of`, where the loss knows it.
    """
    trained = nn.ModuleList([model])
    if isinstance(loss, nn.Module):
        trained.append(loss.to(setup.device))
    return ContrastiveReplay(
        model=model,
        optimizer=setup.optimizer(trained, settings.lr),
        loss=loss,
        replay=replay or replay_of(setup, settings),
        clip_grad_norm=settings.clip_grad_norm,
        plugins=[*settings.plugins(), setup.budget()],
        **setup.arguments(),
    )


def replay_of(
    setup: Setup, settings: EmbeddingSettings
) -> BalancedReplayPlugin | OnlineReplayPlugin:
    """The plugin that makes the batches."""
    return setup.replay(settings.views, settings.replay_batch_size)
