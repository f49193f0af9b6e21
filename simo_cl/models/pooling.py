"""One vector a sample from feature maps and tokens, where the axis of the channels is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm, conv, pooling

Pool = Callable[[Tensor], Tensor]
"""A layer's output (N, ...) to features (N, d)."""

_CHANNELS_FIRST = (
    conv._ConvNd,
    batchnorm._NormBase,
    nn.GroupNorm,
    pooling._AdaptiveAvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
    pooling._AvgPoolNd,
    pooling._LPPoolNd,
    pooling._MaxPoolNd,
)
_CHANNELS_LAST = (nn.Linear, nn.Embedding)
_NORMS_OF_LAST_AXES = (nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Witness:
    """The output of a layer that knows where its channels are.

    Attributes:
        axis: of the channels, 1 or -1.
        shape: of the output, samples first.
    """

    axis: int
    shape: torch.Size


def mean_over_positions(points: Tensor, axis: int) -> Tensor:
    """(N, d) from (N, ...): the mean over all axes but those of the samples and the channels.

    Args:
        points: at least two axes; the memory format does not matter.
        axis: of the channels, 1 or -1.
    """
    return points.flatten(2).mean(2) if axis == 1 else points.flatten(1, -2).mean(1)


def channel_axis(module: nn.Module) -> int | None:
    """1 or -1 where the module's kind says it, as of convolutions and of ``nn.Linear``."""
    if isinstance(module, _CHANNELS_FIRST):
        return 1
    if isinstance(module, _CHANNELS_LAST):
        return -1
    # Some that inherit from a layer norm move the axes around it.
    for kind in _NORMS_OF_LAST_AXES:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return -1 if len(module.normalized_shape) == 1 else None
    return None


def channel_axis_after(shape: torch.Size, witnesses: Sequence[Witness]) -> int | None:
    """The channels' axis, 1 or -1, of a tensor that was made from what the witnesses gave.

    The tensor is compared with the last witness of its samples. Its channels are where that has
    them, or at the other end if it was turned, according to which gives the number of channels and
    the sizes of the positions that the witness has. Where one of these has changed (as by
    concatenation or by upsampling) they are taken to be where all witnesses have them.

    Args:
        shape: (N, ...), at least three axes.
        witnesses: in the order in which they ran.

    Returns:
        None where neither or both can be.
    """
    of_samples = [w for w in witnesses if len(w.shape) > 2 and w.shape[0] == shape[0]]
    if not of_samples:
        return None
    last = of_samples[-1]
    unanimous = all(w.axis == last.axis for w in of_samples)
    stayed, turned = _agreement(shape, last.axis, last), _agreement(shape, -last.axis, last)
    if all(stayed) != all(turned):
        return last.axis if all(stayed) else -last.axis
    if all(stayed):  # all sizes are equal
        return last.axis if unanimous else None
    partly = any(stayed) and not turned[1] and len(shape) == len(last.shape)
    return last.axis if partly and unanimous else None


def axis_of_size(shape: torch.Size, size: int) -> int | None:
    """The channels' axis, 1 or -1, of (N, ...) with so many channels; None if none or both fit."""
    fitting = [axis for axis in (1, -1) if shape[axis] == size]
    return fitting[0] if len(fitting) == 1 else None


def _agreement(shape: torch.Size, axis: int, witness: Witness) -> tuple[bool, bool]:
    """Whether, with its channels there, it has as many as the witness, and its positions."""
    ours, theirs = _positions(shape, axis), _positions(witness.shape, witness.axis)
    if len(ours) != len(theirs):  # flattened to tokens, or the reverse
        ours, theirs = [math.prod(ours)], [math.prod(theirs)]
    return shape[axis] == witness.shape[witness.axis], ours == theirs


def _positions(shape: torch.Size, axis: int) -> list[int]:
    return list(shape[2:] if axis == 1 else shape[1:-1])
