"""Two convolutions, for 8 x 8 digits."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.models.norm import Norm, with_norm


def small_cnn(channels: int, width: int, norm: Norm) -> tuple[nn.Module, int]:
    """Convolutions of `width` and twice as many channels, averaged over four quarters."""
    backbone = nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        _Quarters(),
        nn.Flatten(),
    )
    return with_norm(backbone, norm), 8 * width


class _Quarters(nn.Module):
    """Images (N, channels, H, W) to the averages of their quarters, (N, channels, 2, 2).

    What ``nn.AdaptiveAvgPool2d(2)`` computes, whose gradient has no deterministic form on CUDA.
    """

    def forward(self, images: Tensor) -> Tensor:
        height, width = (max(2, size) for size in images.shape[-2:])
        images = images.expand(-1, -1, height, width)
        kernel = math.ceil(height / 2), math.ceil(width / 2)
        return F.avg_pool2d(images, kernel, stride=(height // 2, width // 2))
