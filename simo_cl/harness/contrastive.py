"""What the contrastive strategies share: one head, one number of views, one read-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import nn

from simo_cl.harness.settings import Number, PositiveInt, RunSettings, StrategySettings
from simo_cl.harness.setup import Setup
from simo_cl.models import Head, ReadOut

if TYPE_CHECKING:
    from simo_cl.training import ContrastiveReplay


class ContrastiveSettings(StrategySettings):
    """Settings of a strategy built by :func:`contrastive_replay`."""

    head: Head = "mlp"
    dimension: PositiveInt = Field(128, description="of the embeddings")
    views: Annotated[int, Field(ge=1, le=2)] = 1
    replay_batch_size: PositiveInt | None = Field(
        None, description="in the online protocol, instead of the suite's"
    )
    clip_grad_norm: Annotated[Number, Field(gt=0)] = 1.0
    read_out: ReadOut = Field("features", description="space of the nearest class mean")

    def check(self, run: RunSettings) -> None:
        if self.replay_batch_size is not None and run.stream.protocol != "online":
            raise ValueError(
                "replay_batch_size is for stream.protocol: online; in the batch protocol, set "
                "training.new_share"
            )


def contrastive_replay(
    setup: Setup, settings: ContrastiveSettings, loss: nn.Module
) -> ContrastiveReplay:
    """A :class:`ContrastiveReplay` that differs from the others in its loss alone."""
    from simo_cl.training import ContrastiveReplay

    model = setup.embedding_model(settings.head, settings.dimension, settings.read_out)
    return ContrastiveReplay(
        model=model,
        optimizer=setup.optimizer(model, settings.lr),
        loss=loss,
        replay=setup.replay(settings.views, settings.replay_batch_size),
        clip_grad_norm=settings.clip_grad_norm,
        plugins=[setup.budget()],
        **setup.arguments(),
    )
