"""Experience replay (Chaudhry et al. 2019): cross-entropy on new data and a balanced memory."""

from __future__ import annotations

from avalanche.training.supervised import Naive

from simo_cl.strategy import LEARNING_RATES, Setup, StrategySettings

SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[setup.stock_replay(), setup.budget()],
    )
