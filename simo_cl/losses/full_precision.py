"""Losses in full precision, whatever the precision that a model trains in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Autocast switched off: sums over many pairs need float32."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(device_type=kind, enabled=False)
    return nullcontext()


def pair_cosines(points: Tensor) -> Tensor:
    """The cosines of all pairs of rows, (N, d) to (N, N).

    In float32 also under autocast, which would round a matrix product to a few hundredths and so,
    divided by a low temperature, to whole logits; in float64 for float64 rows.
    """
    with full_precision(points.device):
        rows = F.normalize(points.to(torch.promote_types(points.dtype, torch.float32)), dim=1)
        return rows @ rows.T
