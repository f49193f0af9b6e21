"""Cross-entropy on exactly the batches of the contrastive strategies: their control."""

from __future__ import annotations

from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings
from simo_cl.harness.setup import Setup
from simo_cl.training import BalancedReplayPlugin

SEARCH_SPACE = {"lr": [3e-4, 1e-3, 3e-3, 1e-2]}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    replay = BalancedReplayPlugin(
        setup.memory_size, setup.batch_size, new_share=setup.new_share, seed=setup.seed
    )
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[replay, setup.budget()],
    )
