"""SimO with one of its two quantities alone, to tell apart what distance and orthogonality do."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from simo_cl.losses.full_precision import full_precision

Part = Literal["distance", "orthogonality"]


class SimOPart(nn.Module):
    """The anchor-free sum of the SimO loss, of pairs that know distance or orthogonality alone.

    A pair's loss ``y * d/(eps + o) + (1 - y) * o/(eps + d)``, with d the squared distance and o the
    squared dot product, keeps the factors of one quantity:

    - ``"distance"``: ``y * d + (1 - y) / (eps + d)``,
    - ``"orthogonality"``: ``y / (eps + o) + (1 - y) * o``.

    Groups, terms and weights are those of :class:`simo_cl.SimOLoss` in the pairwise form. It holds
    N x N matrices and is meant for ablations.

    Args:
        part: what is kept.
        epsilon: positive.
        normalize: scale every embedding to unit norm first. There both quantities are functions of
            the cosine; only without it they are independent.

    Raises:
        ValueError: an unknown part, or an epsilon that is not positive.

    Shape:
        embeddings (N, d), labels (N,) -> scalar.
    """

    def __init__(self, part: Part, *, epsilon: float = 0.1, normalize: bool = True) -> None:
        super().__init__()
        if part not in get_args(Part):
            raise ValueError(f"part is {part!r}; it must be one of {get_args(Part)}")
        if not epsilon > 0:
            raise ValueError(f"epsilon is {epsilon}; it must be positive")
        self.part = part
        self.epsilon = epsilon
        self.normalize = normalize

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        with full_precision(embeddings.device):
            return self._sum_of_terms(embeddings.float(), labels)

    def _sum_of_terms(self, e: Tensor, labels: Tensor) -> Tensor:
        if self.normalize:
            e = normalize(e, dim=1)
        same_class = labels[:, None] == labels[None, :]
        number_in_class = same_class.tril(-1).sum(1)
        same_number = number_in_class[:, None] == number_in_class[None, :]
        means = same_class.to(e) @ e / same_class.sum(1, keepdim=True)
        # The first sample of a class stands for its mean.
        stands = number_in_class == 0
        return (
            self._mean_over_pairs(e, same_class, similar=True)
            + self._mean_over_pairs(means, stands[:, None] & stands[None, :], similar=False)
            + self._mean_over_pairs(e, same_number, similar=False)
        )

    def _mean_over_pairs(self, e: Tensor, together: Tensor, *, similar: bool) -> Tensor:
        if self.part == "distance":
            d = (e[:, None] - e[None, :]).square().sum(-1)
            loss = d if similar else 1 / (self.epsilon + d)
        else:
            o = (e @ e.T).square()
            loss = 1 / (self.epsilon + o) if similar else o
        pair = together.triu(1)
        return torch.where(pair, loss, 0.0).sum() / pair.sum().clamp_min(1)

    def extra_repr(self) -> str:
        return f"{self.part!r}, epsilon={self.epsilon}, normalize={self.normalize}"
