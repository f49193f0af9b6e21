"""Experience replay with SimO on the encoder's features as an additional loss."""

from __future__ import annotations

from typing import Annotated

from avalanche.training.supervised import Naive
from pydantic import Field

from simo_cl.losses import SimOLoss
from simo_cl.strategy import LEARNING_RATES, Number, Setup, StrategySettings
from simo_cl.training import SimOPlugin

SEARCH_SPACE = {"lr": LEARNING_RATES, "weight": [0.1, 0.5, 1.0]}


class Settings(StrategySettings):
    weight: Annotated[Number, Field(ge=0, description="of SimO beside cross-entropy")] = 0.1
    epsilon: Annotated[Number, Field(gt=0)] = 0.1


def build(setup: Setup, settings: Settings) -> Naive:
    simo = SimOPlugin(weight=settings.weight, loss=SimOLoss(epsilon=settings.epsilon))
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[setup.stock_replay(), simo, setup.budget()],
    )
