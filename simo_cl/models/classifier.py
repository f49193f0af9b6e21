"""The model that classifies."""

from __future__ import annotations

from torch import Tensor, nn

from simo_cl.models.encoder import Encoder


class Classifier(nn.Module):
    """An encoder with one linear layer over all classes, those still to come included.

    Args:
        encoder: see :func:`simo_cl.models.build_encoder`.
        num_classes: number of classes of the whole stream.

    Example:
        >>> from simo_cl.models import build_encoder
        >>> model = Classifier(build_encoder("small_cnn", channels=1, width=8), num_classes=10)
        >>> model(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, H, W) to class scores (N, num_classes)."""
        return self.classifier(self.encoder(images))
