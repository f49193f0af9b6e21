"""ER-ACE (Caccia et al. 2022): replay in which new classes do not push the old ones down.

Avalanche fills its memory with the current experience's data before training on it.
"""

from __future__ import annotations

from avalanche.training.supervised import ER_ACE

from simo_cl.harness.settings import StrategySettings
from simo_cl.harness.setup import Setup

SEARCH_SPACE = {"lr": [3e-4, 1e-3, 3e-3, 1e-2]}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> ER_ACE:
    return ER_ACE(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        mem_size=setup.memory_size,
        batch_size_mem=setup.memory_batch_size,
        plugins=[setup.budget(setup.separate_memory_batches)],
    )
