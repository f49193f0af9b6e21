"""MIR (Aljundi et al. 2019) as Avalanche has it: replays what the next update would disturb most.

It chooses from a random part of its memory the samples whose loss a trial update raises most, and
leaves out the classes of the batch before. With whole experiences these would be all the classes
it has just learnt, so it is for small batches alone. Its scoring passes move the running statistics
of batch normalization, and are counted among the images forwarded.
"""

from __future__ import annotations

from avalanche.training.plugins import MIRPlugin
from avalanche.training.supervised import Naive

from simo_cl.strategy import LEARNING_RATES, PositiveInt, RunSettings, Setup, StrategySettings

PROTOCOLS = ("online",)
SEARCH_SPACE = {"lr": LEARNING_RATES}


class Settings(StrategySettings):
    subsample: PositiveInt = 50

    def check(self, run: RunSettings) -> None:
        if run.model.freeze:
            raise ValueError(
                "MIR takes the gradient of all weights, and model.freeze leaves the encoder's out; "
                "train the encoder, with a model.lr_factor such as 0.01"
            )
        replayed, held = run.stream.replay_batch_size, run.memory.size
        if held <= 2 * replayed:
            raise ValueError(
                f"memory.size is {held} and stream.replay_batch_size {replayed}: MIR replays only "
                "from more samples of older classes than a batch has, and in the second experience "
                f"these are about half of the memory; set memory.size above {2 * replayed}"
            )


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
