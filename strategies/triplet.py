"""Triplet loss (Schroff et al. 2015) on class-balanced replay, read out by nearest class mean.

The margin is soft (softplus): with a hard one and batch-hard mining all embeddings collapse.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner

from simo_cl.strategy import LEARNING_RATES, ContrastiveSettings, Number, Setup, contrastive_replay
from simo_cl.training import ContrastiveReplay
from simo_cl.training.mined_loss import MinedLoss

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "margin": [0.1, 0.2, 0.5, 1.0],
    "views": [1, 2],
    "dimension": [16, 128],
}


class Settings(ContrastiveSettings):
    margin: Annotated[Number, Field(ge=0)] = 0.5


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    loss = MinedLoss(
        TripletMarginLoss(margin=settings.margin, smooth_loss=True),
        TripletMarginMiner(margin=settings.margin, type_of_triplets="semihard"),
    )
    return contrastive_replay(setup, settings, loss)
