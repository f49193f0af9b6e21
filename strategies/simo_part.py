"""SimO with distance or orthogonality alone: the ablation of its two quantities."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simo_cl.losses.ablation import Part, SimOPart
from simo_cl.strategy import ContrastiveSettings, Number, Setup, contrastive_replay
from simo_cl.training import ContrastiveReplay

SEARCH_SPACE = {"lr": [1e-3, 3e-3], "epsilon": [1 / 137, 0.1, 0.5], "views": [1, 2]}


class Settings(ContrastiveSettings):
    part: Part = Field("distance", description="what is kept")
    epsilon: Annotated[Number, Field(gt=0)] = 0.1
    normalize: bool = Field(True, description="scale embeddings to unit norm")


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    loss = SimOPart(settings.part, epsilon=settings.epsilon, normalize=settings.normalize)
    return contrastive_replay(setup, settings, loss)
