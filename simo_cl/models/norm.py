"""The normalisation layers of an encoder."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]


def with_norm(backbone: nn.Module, norm: Norm) -> nn.Module:
    """A backbone built with batch normalisation, with the given normalisation in its place."""
    if norm == "batch":
        return backbone
    if norm != "group":
        raise ValueError(f"norm is {norm!r}; it must be 'batch' or 'group'")
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                groups = math.gcd(child.num_features, 8)
                setattr(module, name, nn.GroupNorm(groups, child.num_features))
    return backbone
