"""SupCon (Khosla et al. 2020) on class-balanced replay, read out by nearest class mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pytorch_metric_learning.losses import SupConLoss

from simo_cl.strategy import LEARNING_RATES, ContrastiveSettings, Number, Setup, contrastive_replay
from simo_cl.training import ContrastiveReplay

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "temperature": [0.03, 0.05, 0.07, 0.1, 0.2, 0.5],
    "views": [1, 2],
    "dimension": [16, 128],
}


class Settings(ContrastiveSettings):
    temperature: Annotated[Number, Field(gt=0)] = 0.1


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    return contrastive_replay(setup, settings, SupConLoss(temperature=settings.temperature))
