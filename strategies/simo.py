"""SimO (Bouhsine et al. 2024) on class-balanced replay, read out by nearest class mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simo_cl.losses import SimOLoss
from simo_cl.losses.arguments import Form, Reduction
from simo_cl.strategy import (
    LEARNING_RATES,
    ContrastiveSettings,
    Number,
    RunSettings,
    Setup,
    contrastive_replay,
)
from simo_cl.training import ContrastiveReplay

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "epsilon": [1 / 137, 0.1, 0.5, 2.0],
    "views": [1, 2],
    "dimension": [16, 128],
}

Weights = Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=3, max_length=3)]


class Settings(ContrastiveSettings):
    epsilon: Annotated[Number, Field(gt=0)] = 0.1
    leaning: Annotated[Number, Field(ge=0, le=1)] = 0.0
    bias: Annotated[Number, Field(ge=0, description="of the kernel form")] = 0.0
    normalize: bool = Field(True, description="scale embeddings to unit norm")
    normalize_means: bool = Field(False, description="scale class means to unit norm, too")
    form: Form = "pairwise"
    reduction: Reduction = Field("mean", description="over the pairs of a term")
    weights: Weights = Field([1.0, 1.0, 1.0], description="of terms similar, means, dissimilar")

    def check(self, run: RunSettings) -> None:
        super().check(run)
        self.loss()  # which refuses what does not go together

    def loss(self) -> SimOLoss:
        return SimOLoss(
            form=self.form,
            epsilon=self.epsilon,
            leaning=self.leaning,
            bias=self.bias,
            normalize=self.normalize,
            normalize_means=self.normalize_means,
            reduction=self.reduction,
            weights=self.weights,
        )


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    return contrastive_replay(setup, settings, settings.loss())
