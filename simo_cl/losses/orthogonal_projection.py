"""The orthogonal projection loss: classes orthogonal to each other, beside cross-entropy."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from simo_cl.losses.arguments import check_not_negative
from simo_cl.losses.full_precision import pair_cosines

Dissimilar = Literal["absolute", "absolute_mean", "signed"]


def orthogonal_projection_loss(
    features: Tensor, labels: Tensor, *, gamma: float = 0.5, dissimilar: Dissimilar = "absolute"
) -> Tensor:
    """``(1 - s) + gamma * d`` of the cosines of all pairs in a batch.

    s is the mean cosine of the pairs of one class, and d comes from the cosines of the pairs of two
    in one of three forms. Ranasinghe et al., Orthogonal projection loss, ICCV 2021; their code is
    https://github.com/kahnchana/opl.

    Args:
        features: (N, d), of any norm. Half precision is computed in float32, also under autocast.
        labels: (N,), integers.
        gamma: weight of d, 0 or more.
        dissimilar: what d is:

            - ``"absolute"``: the mean of the cosines' absolute values, as in ``cifar/losses.py`` of
              that code (where gamma is 2). It is least for orthogonal classes.
            - ``"absolute_mean"``: the absolute value of their mean, as in the paper's equation.
              It is 0, too, where opposite classes outweigh near ones.
            - ``"signed"``: their mean, as in ``loss.py``, the code's main file (where gamma is
              0.5). It goes on falling as classes become opposite.

    Returns:
        A scalar; a mean over no pair counts as 0.

    Raises:
        ValueError: a negative gamma, or an unknown form.

    Example:
        >>> orthogonal_projection_loss(torch.eye(2), torch.tensor([0, 1]))
        tensor(1.)
    """
    _check(gamma, dissimilar)
    cosines = pair_cosines(features)
    same = labels[:, None] == labels[None, :]
    s = _mean(cosines, same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device))
    d = _mean(cosines.abs() if dissimilar == "absolute" else cosines, ~same)
    return 1 - s + gamma * (d.abs() if dissimilar == "absolute_mean" else d)


class OrthogonalProjectionLoss(nn.Module):
    """:func:`orthogonal_projection_loss` as a module, for :class:`simo_cl.SimOPlugin`.

    Args:
        gamma, dissimilar: as there.

    Raises:
        ValueError: a negative gamma, or an unknown form.

    Example:
        >>> from simo_cl import SimOPlugin
        >>> plugins = [SimOPlugin(0.1, OrthogonalProjectionLoss(gamma=2.0))]  # of Naive
    """

    def __init__(self, *, gamma: float = 0.5, dissimilar: Dissimilar = "absolute") -> None:
        super().__init__()
        _check(gamma, dissimilar)
        self.gamma = gamma
        self.dissimilar = dissimilar

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return orthogonal_projection_loss(
            features, labels, gamma=self.gamma, dissimilar=self.dissimilar
        )

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, dissimilar={self.dissimilar!r}"


def _check(gamma: float, dissimilar: str) -> None:
    check_not_negative(gamma=gamma)
    if dissimilar not in get_args(Dissimilar):
        raise ValueError(f"dissimilar is {dissimilar!r}; it must be one of {get_args(Dissimilar)}")


def _mean(values: Tensor, pairs: Tensor) -> Tensor:
    return torch.where(pairs, values, 0.0).sum() / pairs.sum().clamp_min(1)
