"""ER-ACE (Caccia et al. 2022): replay in which new classes do not push the old ones down.

As in Avalanche's, the memory takes in the current experience's data before training on it; online,
after every batch. Ours passes new data and memory forward together, draws both class by class, and
its loss stays finite for confident networks, where Avalanche's becomes NaN.
"""

from __future__ import annotations

from avalanche.training.supervised import Naive

from simo_cl.strategy import LEARNING_RATES, Setup, StrategySettings
from simo_cl.training.asymmetric_cross_entropy import AsymmetricCrossEntropy

SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    replay = setup.replay(replays_current=True)
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        criterion=AsymmetricCrossEntropy(replay),
        plugins=[replay, setup.budget()],
    )
