"""DER++ (Buzzega et al. 2020) as Avalanche has it: replay of samples with the logits they had.

Avalanche replays one batch for both terms, and stores the logits of the images as they are after
the experience, where the paper replays two batches and stores those of the augmented images on the
way.
"""

from __future__ import annotations

from typing import Annotated

from avalanche.training.supervised import DER
from pydantic import Field

from simo_cl.strategy import LEARNING_RATES, Number, Setup, StrategySettings

SEARCH_SPACE = {"lr": LEARNING_RATES, "alpha": [0.1, 0.3], "beta": [0.5, 1.0]}


class Settings(StrategySettings):
    alpha: Annotated[Number, Field(ge=0, description="weight of the logits' squared error")] = 0.1
    beta: Annotated[Number, Field(ge=0, description="weight of the memory's cross-entropy")] = 0.5


def build(setup: Setup, settings: Settings) -> DER:
    return DER(
        **setup.stock_arguments(setup.classifier(), settings.lr),
        mem_size=setup.memory_size,
        batch_size_mem=setup.memory_batch_size,
        alpha=settings.alpha,
        beta=settings.beta,
        plugins=[setup.budget(setup.separate_memory_batches)],
    )
