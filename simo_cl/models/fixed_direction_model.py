"""The model that embeds, read out by directions that were fixed before training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.models.embedding_model import EmbeddingModel
from simo_cl.models.encoder import Encoder


class FixedDirectionModel(EmbeddingModel):
    """An :class:`EmbeddingModel` whose read-out compares embeddings with a fixed direction a class.

    The directions stand in the place of class means, so that a class's score is minus the squared
    distance of the unit-norm embedding to its direction. A class without a sample among those that
    means would be computed from is never the answer.

    Args:
        encoder: see :func:`simo_cl.models.build_encoder`.
        head: maps features (N, num_features) to embeddings (N, d).
        directions: (num_classes, d), of unit norm; see
            :func:`simo_cl.losses.fixed_directions.fixed_directions`.

    Raises:
        ValueError: directions of another dimension than the embeddings.

    Example:
        >>> from simo_cl.losses.fixed_directions import fixed_directions
        >>> from simo_cl.models import build_encoder, projection_head
        >>> encoder = build_encoder("small_cnn", channels=1, width=8)
        >>> head = projection_head("mlp", encoder.num_features, 16)
        >>> directions = fixed_directions("simplex", 10, 16, seed=0)
        >>> model = FixedDirectionModel(encoder, head, directions).eval()
        >>> model(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, encoder: Encoder, head: nn.Module, directions: Tensor) -> None:
        super().__init__(encoder, head, len(directions), read_out="embedding")
        if directions.shape != self.class_means.shape:
            raise ValueError(
                f"directions have {directions.shape[1]} dimensions and embeddings "
                f"{self.class_means.shape[1]}; they must have as many"
            )
        # Its own: loading weights writes to it.
        self.class_means = directions.clone()

    @property
    def directions(self) -> Tensor:
        """(num_classes, d), on the model's device."""
        return self.class_means

    def set_class_means(self, points: Tensor, labels: Tensor) -> None:
        """Notes which classes have been seen; the points change nothing.

        Args:
            points: (N, d).
            labels: (N,), in ``range(num_classes)``.
        """
        one_hot = F.one_hot(labels.to(self.has_mean.device), len(self.has_mean))
        self.has_mean = torch.any(one_hot, dim=0)
