"""The SimO terms in plain autograd, from all pairs of a batch: what the fast code must equal."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from simo_cl.losses import SimOTerms


def plain_terms(
    embeddings: Tensor,
    labels: Tensor,
    *,
    form: str = "pairwise",
    epsilon: float = 0.1,
    leaning: float = 0.0,
    normalize: bool = True,
    normalize_means: bool = False,
    reduction: str = "mean",
    bias: float = 0.0,
) -> SimOTerms:
    e = unit(embeddings, dim=1) if normalize else embeddings
    same_class = labels[:, None] == labels[None, :]
    rank = torch.tril(same_class, diagonal=-1).sum(1)
    same_rank = rank[:, None] == rank[None, :]
    means = (same_class.to(e.dtype) @ e) / same_class.sum(1, keepdim=True)
    if normalize_means:
        means = unit(means, dim=1)
    first = rank == 0  # one row a class stands for its mean
    one_a_class = first[:, None] & first[None, :]
    forms = {
        "pairwise": pairwise,
        "rectified": rectified,
        "kernel": partial(kernel, bias=bias),
        "distance": distance,
        "orthogonality": orthogonality,
        "batch": batch,
    }
    loss = forms[form]
    return SimOTerms(
        similar=loss(e, same_class, 1.0, epsilon, reduction),
        means=loss(means, one_a_class, leaning, epsilon, reduction),
        dissimilar=loss(e, same_rank, leaning, epsilon, reduction),
    )


def pairwise(e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str) -> Tensor:
    d, o = distances_and_squared_products(e)
    return reduced(y * d / (epsilon + o) + (1 - y) * o / (epsilon + d), together, reduction)


def rectified(e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str) -> Tensor:
    d, o = distances_and_squared_products(e)
    above = (e @ e.T).relu().square()
    return reduced(y * d / (epsilon + above) + (1 - y) * o / (epsilon + d), together, reduction)


def kernel(
    e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str, bias: float
) -> Tensor:
    d = (e[:, None, :] - e[None, :, :]).square().sum(-1)
    k = (e @ e.T + bias).square() / (epsilon + d)
    return reduced((1 + k) ** (1 - 2 * y), together, reduction)


def distance(e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str) -> Tensor:
    d, _ = distances_and_squared_products(e)
    return reduced(y * d + (1 - y) / (epsilon + d), together, reduction)


def orthogonality(e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str) -> Tensor:
    _, o = distances_and_squared_products(e)
    return reduced(y / (epsilon + o) + (1 - y) * o, together, reduction)


def reduced(pair_loss: Tensor, together: Tensor, reduction: str) -> Tensor:
    pair = torch.triu(together, diagonal=1)
    total = torch.where(pair, pair_loss, 0.0).sum()
    return total if reduction == "sum" else total / pair.sum().clamp_min(1)


def batch(e: Tensor, together: Tensor, y: float, epsilon: float, reduction: str) -> Tensor:
    d, o = distances_and_squared_products(e)
    size = together.sum(1)
    pair = together & ~torch.eye(len(e), dtype=torch.bool)

    def over_pairs(x: Tensor) -> Tensor:
        total = together.to(e.dtype) @ (x * pair).sum(1) / 2
        return total if reduction == "sum" else total / (size * (size - 1) / 2).clamp_min(1)

    d, o = over_pairs(d), over_pairs(o)
    group_loss = y * d / (epsilon + o) + (1 - y) * o / (epsilon + d)
    share = torch.where(size >= 2, 1 / size.clamp_min(1).to(e.dtype), 0.0)
    return (share * group_loss).sum() / share.sum().clamp_min(1)


def distances_and_squared_products(e: Tensor) -> tuple[Tensor, Tensor]:
    return (e[:, None, :] - e[None, :, :]).square().sum(-1), (e @ e.T).square()
