"""A backbone with its precision and its memory layout."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from simo_cl.models.patch_whitening import PatchWhitening
from simo_cl.models.pooling import axis_of_size, mean_over_positions
from simo_cl.models.precision import Precision, autocast

_FEWEST_CHANNELS = 8
"""Of a convolution in channels-last on the CPU."""


class Encoder(nn.Module):
    """A backbone that runs in the given precision and gives float32 features (N, num_features).

    Autocast and the faster memory layout are applied here, inside the forward pass, because
    strategies that replay or distil call the model themselves, outside any context around the
    training loop. A backbone's feature maps or tokens are averaged over their positions where the
    number of features tells which axis is the channels'.

    Args:
        backbone: maps images (N, channels, H, W) to (N, num_features), feature maps or tokens.
        num_features: of an image.
        precision: ``"bfloat16"`` runs the backbone under autocast.
        frozen: its weights are not trained, and it is in evaluation mode also while the rest
            trains: its batch normalization keeps its statistics. Its features (N, num_features) may
            then be given in place of the images.

    Example:
        >>> encoder = Encoder(nn.Conv2d(3, 16, 3), 16, "float32")
        >>> encoder(torch.zeros(2, 3, 8, 8)).shape, encoder.images_forwarded
        (torch.Size([2, 16]), 2)
    """

    _images_forwarded: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        precision: Precision,
        *,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {precision!r}; it must be 'float32' or 'bfloat16'")
        # The weights stay contiguous: strategies that project gradients (A-GEM, GEM) flatten them.
        self.backbone = backbone.requires_grad_(False).eval() if frozen else backbone
        self.num_features = num_features
        self.precision = precision
        self.frozen = frozen
        # A tensor, as torch.compile makes another graph for each value of a number; not read while
        # training, as a device would have to be waited for.
        counter = torch.zeros((), dtype=torch.int64)
        self.register_buffer("_images_forwarded", counter, persistent=False)
        self._is_narrow = _is_narrow(backbone)
        self._has_channels_across_lines = any(
            module.num_features % 16
            for module in backbone.modules()
            if isinstance(module, nn.BatchNorm2d)
        )

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self._images_forwarded += len(images)
        if self.frozen and images.dim() == 2:
            return images
        # Not contiguous(): it leaves the strides of one channel as they are.
        images = images.to(memory_format=self._memory_format(images))
        with autocast(images.device.type, enabled=self.precision == "bfloat16"):
            features = self.backbone(images).float()
        return features if features.dim() == 2 else self._pooled(features)

    def extra_repr(self) -> str:
        return f"{self.num_features} features, {self.precision}"

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def _pooled(self, features: Tensor) -> Tensor:
        axis = axis_of_size(features.shape, self.num_features) if features.dim() > 2 else None
        if axis is None:
            raise ValueError(
                f"the encoder gives {tuple(features.shape)}, in which not exactly one of the "
                f"second and the last axis has its {self.num_features} features; register it with "
                "pool=, a function from this shape to (N, features)"
            )
        return mean_over_positions(features, axis)

    @property
    def images_forwarded(self) -> int:
        """In training mode, by everybody who called the encoder."""
        return int(self._images_forwarded)

    @images_forwarded.setter
    def images_forwarded(self, count: int) -> None:
        self._images_forwarded.fill_(count)

    def fit_whitening(self, batches: Iterable[Tensor]) -> None:
        """Takes the filters of its whitening layer from images; without such a layer, reads none.

        Args:
            batches: normalised images, (N, channels, H, W) each. Of a stream, give the first
                experience's alone: the others are not there yet.

        Raises:
            ValueError: there is no image.
        """
        for module in self.backbone.modules():
            if isinstance(module, PatchWhitening):
                module.fit(batches)

    def _memory_format(self, images: Tensor) -> torch.memory_format:
        on_cpu = images.device.type == "cpu"
        # On a CPU with AVX2 alone, torch 2.14's convolutions of fewer than 8 channels corrupt the
        # memory of the process in channels-last.
        is_narrow = on_cpu and (self._is_narrow or images.shape[1] == 1)
        # On the CPU, the backward pass of batch normalization divides channels among threads. In
        # channels-last the threads write to the same cache lines unless the channels are a
        # multiple of 16: two threads take three times as long for 20 channels as one does. In
        # float32, convolutions gain as much from channels-last as that costs.
        threads_collide = (
            self.training
            and on_cpu
            and self.precision == "bfloat16"
            and self._has_channels_across_lines
            and _has_several_threads()
        )
        contiguous = is_narrow or threads_collide
        return torch.contiguous_format if contiguous else torch.channels_last


@torch.compiler.assume_constant_result
def _has_several_threads() -> bool:
    return torch.get_num_threads() > 1


def _is_narrow(backbone: nn.Module) -> bool:
    """Whether a convolution, or each of its groups, has fewer channels than channels-last bears.

    The first one's input does not count: it is the image.
    """
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convolutions = [module for module in backbone.modules() if isinstance(module, kinds)]
    channels = [module.out_channels // module.groups for module in convolutions]
    channels += [module.in_channels // module.groups for module in convolutions[1:]]
    return min(channels, default=_FEWEST_CHANNELS) < _FEWEST_CHANNELS
