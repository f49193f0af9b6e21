"""Any loss of pytorch-metric-learning by its class name, on the batches of the contrastive losses.

Its arguments keep the library's defaults where a suite does not set them. Weights that a loss has
for each class, to come or seen, train with the model.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from simo_cl.strategy import LEARNING_RATES, ContrastiveSettings, Setup, embedding_replay
from simo_cl.training import ContrastiveReplay
from simo_cl.training.metric_loss import metric_loss
from simo_cl.training.mined_loss import MinedLoss

SEARCH_SPACE = {"lr": LEARNING_RATES, "views": [1, 2], "dimension": [16, 128]}


def _argument(value: Any) -> Any:
    if isinstance(value, str):
        try:
            # YAML reads 1e-3 as a text.
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return value
    raise ValueError("must be a number, a text, or true or false, and neither NaN nor infinite")


Argument = Annotated[bool | int | float | str, BeforeValidator(_argument)]


class Settings(ContrastiveSettings):
    loss: str = Field("MultiSimilarityLoss", description="a class of the library's losses")
    arguments: dict[str, Argument] = Field({}, description="of the loss")
    miner: str | None = Field(None, description="a class of the library's miners")
    miner_arguments: dict[str, Argument] = Field({}, description="of the miner")

    @model_validator(mode="after")
    def _can_be_made(self) -> Settings:
        self.metric_loss(num_classes=2, embedding_size=self.dimension)
        return self

    def metric_loss(self, **sizes: Any) -> MinedLoss:
        miner, given = self.miner, self.miner_arguments
        return metric_loss(self.loss, self.arguments, miner=miner, miner_arguments=given, **sizes)


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    model = settings.model(setup)
    dimension = settings.dimension_of(model)
    loss = settings.metric_loss(num_classes=setup.num_classes, embedding_size=dimension)
    return embedding_replay(setup, settings, model, loss)
