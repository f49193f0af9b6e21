"""Co2L (Cha et al. 2021) on class-balanced replay, read out by nearest class mean.

Its asymmetric SupCon has the current classes' samples as anchors, and it distils how near all
samples of a batch were to each other before the experience. Batches, augmentations and read-out are
those of the other contrastive strategies, where the paper draws batches from memory and new data
together and trains a linear classifier at the end. With ``distill_weight: 0`` it is the loss alone.
The authors' code multiplies SupCon by temperature / 0.07 and not the distillation beside it; here a
``distill_weight`` of 0.07 / temperature has the same proportion.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simo_cl.strategy import (
    LEARNING_RATES,
    DistilledSettings,
    Number,
    Setup,
    embedding_replay,
    replay_of,
)
from simo_cl.training import ContrastiveReplay
from simo_cl.training.co2l_loss import AsymmetricSupCon

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "temperature": [0.03, 0.05, 0.07, 0.1, 0.2, 0.5],
    "distill_weight": [0.2, 1.0],
    "views": [1, 2],
    "dimension": [16, 128],
}


class Settings(DistilledSettings):
    temperature: Annotated[Number, Field(gt=0)] = 0.1


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    replay = replay_of(setup, settings)
    loss = AsymmetricSupCon(replay, temperature=settings.temperature)
    return embedding_replay(setup, settings, settings.model(setup), loss, replay)
