"""SimO (Bouhsine et al. 2024) on class-balanced replay, read out by nearest class mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simo_cl.harness.contrastive import ContrastiveSettings, contrastive_replay
from simo_cl.harness.settings import Number
from simo_cl.harness.setup import Setup
from simo_cl.losses import SimOLoss
from simo_cl.training import ContrastiveReplay

SEARCH_SPACE = {"lr": [1e-3, 3e-3], "epsilon": [1 / 137, 0.1, 0.5], "views": [1, 2]}


class Settings(ContrastiveSettings):
    epsilon: Annotated[Number, Field(gt=0)] = 0.1
    leaning: Annotated[Number, Field(ge=0, le=1)] = 0.0
    normalize: bool = Field(True, description="scale embeddings to unit norm")


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    loss = SimOLoss(
        epsilon=settings.epsilon, leaning=settings.leaning, normalize=settings.normalize
    )
    return contrastive_replay(setup, settings, loss)
