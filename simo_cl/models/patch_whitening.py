"""A fixed first layer that decorrelates the pixels of small patches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.models.precision import autocast

_SIDE = 2

_NUMBERS_AT_ONCE = 2**22
"""In images; their patches are four times as many, in float64."""


class PatchWhitening(nn.Module):
    """A fixed convolution with the whitening filters of 2 x 2 patches, each with both signs.

    A filter is an eigenvector of the patches' second moments over the root of its eigenvalue, so
    that over all patches of the images it was fitted to, outputs have, but for ``epsilon``, a mean
    square of 1, and no correlation but for a filter with its negative. The idea, with both signs
    and ``epsilon``, is that of cifar10-airbench (Jordan 2024).

    Until :meth:`fit` is called, a filter is a single pixel.

    Args:
        channels: of the images.
        epsilon: added to the eigenvalues, so that what hardly varies is not blown up.
        stride: 1, or 2 for patches side by side, which do not overlap.

    Attributes:
        filters: (8 * channels, channels, 2, 2), by falling eigenvalue, those of negative sign in
            the second half. A buffer: it is saved with the weights, and nothing trains it.

    Example:
        >>> whitening = PatchWhitening(channels=3)
        >>> whitening.fit([torch.randn(20, 3, 9, 9)])
        >>> whitening(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 24, 31, 31])
    """

    filters: Tensor

    def __init__(self, channels: int, epsilon: float = 5e-4, stride: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.epsilon = epsilon
        self.stride = stride
        pixels = torch.eye(channels * _SIDE**2)
        self.register_buffer("filters", self._with_both_signs(pixels))

    @property
    def out_channels(self) -> int:
        return len(self.filters)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 8 * channels, H - 1, W - 1), or half of that, in float32."""
        # bfloat16 images have errors as large as the differences of neighbouring pixels.
        with autocast(images.device.type, enabled=False):
            return F.conv2d(images.float(), self.filters, stride=self.stride)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Takes the filters from images.

        Computed in float64 on the CPU, so that all machines agree to rounding.

        Args:
            batches: (N, channels, H, W) each, as :meth:`forward` will get them.

        Raises:
            ValueError: there is no image, or one that is smaller than a patch.
        """
        size = self.channels * _SIDE**2
        moments, count = torch.zeros(size, size, dtype=torch.float64), 0
        for batch in batches:
            if min(batch.shape[2:]) < _SIDE:
                shape = " x ".join(map(str, batch.shape[2:]))
                raise ValueError(
                    f"whitening takes patches of {_SIDE} x {_SIDE}, got {shape} images"
                )
            at_once = max(1, _NUMBERS_AT_ONCE // batch.shape[1:].numel())
            for images in batch.cpu().split(at_once):
                # As columns, in the order of a filter's weights.
                patches = F.unfold(images.double(), _SIDE).transpose(0, 1).flatten(1)
                moments += patches @ patches.T
                count += patches.shape[1]
        if count == 0:
            raise ValueError("whitening needs at least one image")
        values, vectors = torch.linalg.eigh(moments / count)
        scales = (values.clamp(min=0) + self.epsilon).rsqrt()
        filters = (_with_a_sign(vectors) * scales).T.flip(0)
        self.filters.copy_(self._with_both_signs(filters))

    def _with_both_signs(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, -rows]).view(-1, self.channels, _SIDE, _SIDE)


def _with_a_sign(vectors: Tensor) -> Tensor:
    """Columns of arbitrary sign, each with the sign that all machines give it.

    The sum of a column's entries can be 0, as can any that whole weights make.
    """
    weights = torch.arange(1, len(vectors) + 1).to(vectors).sqrt()
    return vectors * torch.where(weights @ vectors < 0, -1.0, 1.0).to(vectors)
