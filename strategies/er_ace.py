"""ER-ACE (Caccia et al. 2022): replay in which new classes do not push the old ones down.

In the batch protocol it is Avalanche's, which fills its memory with the current experience's data
before training on it. Avalanche has no online one; that one is ours, with one forward pass over new
data and memory together.
"""

from __future__ import annotations

from avalanche.training.supervised import ER_ACE, Naive

from simo_cl.harness.settings import StrategySettings
from simo_cl.harness.setup import Setup
from simo_cl.training.asymmetric_cross_entropy import AsymmetricCrossEntropy

SEARCH_SPACE = {"lr": [3e-4, 1e-3, 3e-3, 1e-2]}


class Settings(StrategySettings):
    pass


def build(setup: Setup, settings: Settings) -> ER_ACE | Naive:
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    if setup.online:
        replay = setup.replay()
        criterion = AsymmetricCrossEntropy(replay)
        return Naive(**arguments, criterion=criterion, plugins=[replay, setup.budget()])
    return ER_ACE(
        **arguments,
        mem_size=setup.memory_size,
        batch_size_mem=setup.memory_batch_size,
        plugins=[setup.budget(setup.separate_memory_batches)],
    )
