"""Class directions that are fixed before training, and the loss that pulls embeddings to them."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from scipy.linalg import helmert
from torch import Tensor
from torch.nn import functional as F

Directions = Literal["orthonormal", "simplex"]


def fixed_directions(kind: Directions, num_classes: int, dimension: int, *, seed: int) -> Tensor:
    """A unit vector for each class, all at the same angle to each other, turned at random.

    Args:
        kind: ``"orthonormal"``, with a cosine of 0 between any two; or ``"simplex"``, with the
            lowest that all pairs can have, -1 / (num_classes - 1): a simplex equiangular tight
            frame, to which classifiers converge by themselves (Papyan et al., Prevalence of neural
            collapse, PNAS 2020).
        num_classes: 2 or more.
        dimension: as many as classes; for a simplex, one fewer is enough.
        seed: of the rotation.

    Returns:
        (num_classes, dimension), float32, on the CPU.

    Raises:
        ValueError: an unknown kind, fewer than two classes, or too few dimensions for them.

    Example:
        >>> directions = fixed_directions("simplex", 3, 2, seed=0)
        >>> round(float(directions[0] @ directions[1]), 4)
        -0.5
    """
    if kind not in get_args(Directions):
        raise ValueError(f"directions is {kind!r}; it must be one of {get_args(Directions)}")
    if num_classes < 2:
        raise ValueError(f"there are {num_classes} classes; directions are for 2 or more")
    needed = num_classes if kind == "orthonormal" else num_classes - 1
    if dimension < needed:
        raise ValueError(
            f"dimension is {dimension}, but {kind} directions of {num_classes} classes need at "
            f"least {needed}; raise the dimension"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(dimension, needed, dtype=torch.float64, generator=generator)
    basis = torch.linalg.qr(drawn).Q.T
    if kind == "simplex":
        # Rows of an orthonormal basis of the vectors whose entries sum to 0.
        corners = torch.from_numpy(helmert(num_classes)).T
        basis = math.sqrt(num_classes / (num_classes - 1)) * corners @ basis
    return basis.float()


def cosine_loss(embeddings: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
    """One minus the cosine of each embedding to its class's direction, averaged: in [0, 2].

    The cosine loss of Barz and Denzler, Deep learning on small datasets without pre-training using
    cosine loss, WACV 2020, for any unit directions.

    Args:
        embeddings: (N, d), of any norm. Half precision is computed in float32, also under autocast.
        labels: (N,), in ``range(C)``.
        directions: (C, d), of unit norm.

    Returns:
        A scalar.

    Example:
        >>> cosine_loss(torch.eye(3), torch.tensor([0, 1, 0]), torch.eye(3))
        tensor(0.3333)
    """
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    cosines = (F.normalize(rows, dim=1) * directions[labels]).sum(dim=1)
    return 1 - cosines.mean()
