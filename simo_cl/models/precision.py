"""The precision that an encoder computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def autocast(device_type: str, *, enabled: bool) -> AbstractContextManager[None]:
    """A context that computes in bfloat16, or that keeps an outer one from doing so."""
    if not torch.amp.is_autocast_available(device_type):  # such as "meta"
        return nullcontext()
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled)
