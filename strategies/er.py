"""Experience replay (Chaudhry et al. 2019): cross-entropy on new data and a balanced memory."""

from __future__ import annotations

from avalanche.training.plugins import ReplayPlugin, SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings
from simo_cl.harness.setup import Setup

SEARCH_SPACE = {"lr": [3e-4, 1e-3, 3e-3, 1e-2]}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> Naive:
    replay: SupervisedPlugin = ReplayPlugin(
        mem_size=setup.memory_size,
        batch_size=setup.new_batch_size,
        batch_size_mem=setup.memory_batch_size,
        storage_policy=ClassBalancedBuffer(setup.memory_size, adaptive_size=True),
    )
    if setup.online:
        replay = setup.replay()
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[replay, setup.budget()],
    )
