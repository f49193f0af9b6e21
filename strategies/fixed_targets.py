"""A direction for each class, fixed before training: a cosine loss to it, and read out by it.

All classes, those to come included, have theirs from the start: orthonormal ones, or the corners of
a simplex, as in regular polytope networks (Pernici et al. 2021) and in NC-FSCIL (Yang et al. 2023).
The same classes' means are the read-out ``ncm_memory``, as of every strategy.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from simo_cl.losses.fixed_directions import Directions, cosine_loss, fixed_directions
from simo_cl.models.fixed_direction_model import FixedDirectionModel
from simo_cl.strategy import LEARNING_RATES, EmbeddingSettings, Setup, embedding_replay
from simo_cl.training import ContrastiveReplay

SEARCH_SPACE = {
    "lr": LEARNING_RATES,
    "views": [1, 2],
    "dimension": [16, 128],
}


class Settings(EmbeddingSettings):
    directions: Directions = Field("orthonormal", description="how they lie to each other")


def build(setup: Setup, settings: Settings) -> ContrastiveReplay:
    embedding = setup.embedding_model(settings.head, settings.dimension)
    directions = fixed_directions(
        settings.directions,
        setup.num_classes,
        settings.dimension_of(embedding),
        seed=setup.seed,
    )
    model = FixedDirectionModel(embedding.encoder, embedding.head, directions)

    def loss(embeddings: Tensor, labels: Tensor) -> Tensor:
        return cosine_loss(embeddings, labels, model.directions)

    return embedding_replay(setup, settings, model, loss)
