"""The model that embeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.models.encoder import Encoder

ReadOut = Literal["features", "embedding"]

UNSEEN_CLASS_SCORE = -1e4
"""Score of a class that has no mean yet: below every real one, and finite, because an infinite one
turns losses and averages into NaN."""


class EmbeddingModel(nn.Module):
    """An encoder with a projection head that embeds while it trains and classifies when evaluated.

    In training mode, and inside :meth:`embedding`, it gives the embeddings that a contrastive loss
    wants, (N, d). In evaluation mode it gives class scores (N, num_classes): minus the squared
    distance, in [-4, 0], of the unit-norm features to each class's mean, and ``UNSEEN_CLASS_SCORE``
    for a class without one.

    Args:
        encoder: see :func:`simo_cl.models.build_encoder`.
        head: maps features (N, num_features) to embeddings; see
            :func:`simo_cl.models.projection_head`.
        num_classes: number of classes of the whole stream.
        read_out: the space in which class means are compared, ``"features"`` (the encoder's, as is
            usual where a projection head is thrown away) or ``"embedding"``.

    Example:
        >>> from simo_cl.models import build_encoder, projection_head
        >>> encoder = build_encoder("small_cnn", channels=1, width=8)
        >>> model = EmbeddingModel(encoder, projection_head("mlp", encoder.num_features, 16), 10)
        >>> model(torch.zeros(2, 1, 8, 8)).shape, model.eval()(torch.zeros(2, 1, 8, 8)).shape
        (torch.Size([2, 16]), torch.Size([2, 10]))
    """

    class_means: Tensor
    has_mean: Tensor

    def __init__(
        self, encoder: Encoder, head: nn.Module, num_classes: int, read_out: ReadOut = "features"
    ) -> None:
        super().__init__()
        if read_out not in ("features", "embedding"):
            raise ValueError(f"read_out is {read_out!r}; it must be 'features' or 'embedding'")
        self.encoder = encoder
        self.head = head
        self.read_out = read_out
        self._embeds_in_evaluation = False
        dimension = encoder.num_features
        if read_out == "embedding":
            dimension = _output_width(head, encoder.num_features)
        self.register_buffer("class_means", torch.zeros(num_classes, dimension))
        self.register_buffer("has_mean", torch.zeros(num_classes, dtype=torch.bool))

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        # The head runs in evaluation too, where its output is measured beside the read-out.
        embeddings = self.head(features)
        if self.training or self._embeds_in_evaluation:
            return embeddings
        return self._scores(features if self.read_out == "features" else embeddings)

    @contextmanager
    def embedding(self, yes: bool = True) -> Iterator[None]:
        """A context in which the model embeds in evaluation mode, too; or, inside one, does not."""
        before, self._embeds_in_evaluation = self._embeds_in_evaluation, yes
        try:
            yield
        finally:
            self._embeds_in_evaluation = before

    def read_out_points(self, images: Tensor) -> Tensor:
        """Images (N, channels, H, W) to points of the read-out space, (N, dimension)."""
        features = self.encoder(images)
        return features if self.read_out == "features" else self.head(features)

    def set_class_means(self, points: Tensor, labels: Tensor) -> None:
        """Replaces all class means by those of the given points.

        Args:
            points: (N, d) in the read-out space; their directions count, not their lengths.
            labels: (N,), in ``range(num_classes)``.
        """
        num_classes = self.class_means.shape[0]
        points = F.normalize(points.to(self.class_means), dim=1)
        one_hot = F.one_hot(labels.to(points.device), num_classes).to(points)
        counts = one_hot.sum(dim=0)
        self.class_means = one_hot.T @ points / counts.clamp(min=1)[:, None]
        self.has_mean = counts > 0

    def _scores(self, points: Tensor) -> Tensor:
        points = F.normalize(points, dim=1)
        distances = torch.cdist(
            points, self.class_means, compute_mode="donot_use_mm_for_euclid_dist"
        )
        return torch.where(self.has_mean, -distances.square(), UNSEEN_CLASS_SCORE)


@torch.no_grad()
def _output_width(head: nn.Module, num_features: int) -> int:
    # On a copy in evaluation mode, so that a head with running statistics keeps its own.
    probe = copy.deepcopy(head).eval()
    device = next((p.device for p in probe.parameters()), None)
    return probe(torch.zeros(2, num_features, device=device)).shape[1]
