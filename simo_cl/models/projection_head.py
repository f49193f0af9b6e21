"""Heads that turn features into embeddings."""

from __future__ import annotations

from typing import Literal

from torch import nn

Head = Literal["none", "linear", "mlp"]


def projection_head(kind: Head, num_features: int, dimension: int) -> nn.Module:
    """Maps features to embeddings: not at all, by a linear map, or by an MLP with one hidden layer
    as wide as the features (Khosla et al. 2020).

    Example:
        >>> projection_head("linear", 160, 128)
        Linear(in_features=160, out_features=128, bias=True)
    """
    if kind == "none":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(num_features, dimension)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(num_features, num_features),
            nn.ReLU(inplace=True),
            nn.Linear(num_features, dimension),
        )
    raise ValueError(f"head is {kind!r}; it must be 'none', 'linear' or 'mlp'")
