"""Cross-entropy on exactly the batches of the contrastive strategies: their control."""

from __future__ import annotations

from avalanche.training.supervised import Naive

from simo_cl.strategy import LEARNING_RATES, Setup, StrategySettings

SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[setup.replay(), setup.budget()],
    )
