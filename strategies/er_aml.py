"""ER-AML (Caccia et al. 2022): new samples learn by a metric loss against new classes alone.

The memory's cross-entropy is added to it, of all classes, and the memory takes in the current
experience's data before training on it, as in ``er_ace``. The loss is the paper's; Avalanche's
divides each similarity by the sum of another anchor. Positives and negatives are those of the
batch, where the authors' code forwards one more of each a sample.
"""

from __future__ import annotations

from typing import Annotated

from avalanche.training.supervised import Naive
from pydantic import Field

from simo_cl.strategy import LEARNING_RATES, Number, Setup, StrategySettings
from simo_cl.training import SimOPlugin
from simo_cl.training.asymmetric_metric_learning import AsymmetricMetricLoss, MemoryCrossEntropy

SEARCH_SPACE = {"lr": LEARNING_RATES, "temperature": [0.07, 0.1, 0.2]}


class Settings(StrategySettings):
    temperature: Annotated[Number, Field(gt=0)] = 0.1


def build(setup: Setup, settings: Settings) -> Naive:
    replay = setup.replay(replays_current=True)
    loss = AsymmetricMetricLoss(replay, temperature=settings.temperature)
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        criterion=MemoryCrossEntropy(replay),
        plugins=[replay, SimOPlugin(1.0, loss), setup.budget()],
    )
