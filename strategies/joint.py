"""Cross-entropy on all classes at once, in the replay strategies' total steps: the upper bound."""

from __future__ import annotations

from avalanche.training.supervised import Naive

from simo_cl.strategy import LEARNING_RATES, Setup, StrategySettings

JOINT = True
SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    return Naive(**setup.stock_arguments(setup.classifier(), settings.lr), plugins=[setup.budget()])
