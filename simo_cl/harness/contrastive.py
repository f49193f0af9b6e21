"""What the contrastive strategies share: one head, one number of views, one read-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor, nn

from simo_cl.harness.settings import Number, PositiveInt, RunSettings, StrategySettings
from simo_cl.harness.setup import Setup
from simo_cl.models import EmbeddingModel, Head, ReadOut

if TYPE_CHECKING:
    from simo_cl.training import ContrastiveReplay

Loss = Callable[[Tensor, Tensor], Tensor]
"""Called as ``loss(embeddings, labels)``."""


class EmbeddingSettings(StrategySettings):
    """Settings of every strategy built by :func:`contrastive_replay`."""

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

    def dimension_of(self, model: EmbeddingModel) -> int:
        """Of the model's embeddings: without a head, that of its features."""
        return model.encoder.num_features if self.head == "none" else self.dimension


class ContrastiveSettings(EmbeddingSettings):
    """Those of a strategy that is read out by nearest class mean."""

    read_out: ReadOut = Field("features", description="space of the nearest class mean")

    def model(self, setup: Setup) -> EmbeddingModel:
        """The model that they describe."""
        return setup.embedding_model(self.head, self.dimension, self.read_out)


def contrastive_replay(
    setup: Setup, settings: ContrastiveSettings, loss: Loss
) -> ContrastiveReplay:
    """A :class:`ContrastiveReplay` that differs from the others in its loss alone."""
    return embedding_replay(setup, settings, settings.model(setup), loss)


def embedding_replay(
    setup: Setup, settings: EmbeddingSettings, model: EmbeddingModel, loss: Loss
) -> ContrastiveReplay:
    """The same training for a model with another read-out, or a loss made to fit its model.

    Weights that the loss has train with the model's.
    """
    from simo_cl.training import ContrastiveReplay

    trained = nn.ModuleList([model])
    if isinstance(loss, nn.Module):
        trained.append(loss.to(setup.device))
    return ContrastiveReplay(
        model=model,
        optimizer=setup.optimizer(trained, settings.lr),
        loss=loss,
        replay=setup.replay(settings.views, settings.replay_batch_size),
        clip_grad_norm=settings.clip_grad_norm,
        plugins=[setup.budget()],
        **setup.arguments(),
    )
