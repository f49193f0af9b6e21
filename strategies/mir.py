"""MIR (Aljundi et al. 2019): replays what the next update would disturb most.

It chooses from a random part of its memory the samples whose loss a trial update raises most. The
memory is Avalanche's and does not give samples of the classes in the last batch.
"""

from __future__ import annotations

from avalanche.training.plugins import MIRPlugin
from avalanche.training.supervised import Naive

from simo_cl.harness.settings import PositiveInt, StrategySettings
from simo_cl.harness.setup import Setup

SEARCH_SPACE = {"lr": [3e-4, 1e-3, 3e-3, 1e-2]}


class Settings(StrategySettings):
    subsample: PositiveInt = 50


def build(setup: Setup, settings: Settings) -> Naive:
    mir = MIRPlugin(
        batch_size_mem=setup.memory_batch_size,
        mem_size=setup.memory_size,
        subsample=settings.subsample,
    )
    return Naive(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        plugins=[mir, setup.budget(setup.separate_memory_batches)],
    )
