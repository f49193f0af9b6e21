"""Experience replay with the orthogonal projection loss (Ranasinghe et al. 2021) on the features.

Its batches are those of ``er_simo``, so that the two differ in the additional loss alone. With
``dissimilar: absolute`` the loss is that of the authors' CIFAR code, with ``absolute_mean`` that of
the paper's equation, with ``signed`` that of the code's main file.
"""

from __future__ import annotations

from typing import Annotated

from avalanche.training.supervised import Naive
from pydantic import Field

from simo_cl.losses.orthogonal_projection import Dissimilar, OrthogonalProjectionLoss
from simo_cl.strategy import LEARNING_RATES, Number, Setup, StrategySettings
from simo_cl.training import SimOPlugin

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "weight": [0.1, 0.5, 1.0],
    "dissimilar": ["absolute", "absolute_mean", "signed"],
}


class Settings(StrategySettings):
    weight: Annotated[Number, Field(ge=0, description="beside cross-entropy")] = 0.1
    gamma: Annotated[Number, Field(ge=0, description="of the pairs of two classes")] = 0.5
    dissimilar: Dissimilar = Field("absolute", description="cosines of two classes")


def build(setup: Setup, settings: Settings) -> Naive:
    loss = OrthogonalProjectionLoss(gamma=settings.gamma, dissimilar=settings.dissimilar)
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[setup.stock_replay(), SimOPlugin(settings.weight, loss), setup.budget()],
    )
