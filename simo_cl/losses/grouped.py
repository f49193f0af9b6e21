"""The terms of any batch, from the groups that its layout gives."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from simo_cl.losses.arguments import Settings
from simo_cl.losses.batch import fraction_sum
from simo_cl.losses.layout import Balanced, Groups, Ragged, Unread
from simo_cl.losses.pair_losses import PairLoss
from simo_cl.losses.pairwise import Norms, pair_sum
from simo_cl.losses.unit_norm import unit_rows


def grouped_terms(
    embeddings: Tensor, layout: Balanced | Ragged | Unread, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """The similar, means and dissimilar terms."""
    s = settings
    groups = layout.groups(_ordered_rows(embeddings, layout.order, s.normalize))
    means = _with_unit_rows(groups.means) if s.normalize_means else groups.means
    norms: Norms = "unit" if s.normalize else "any"
    means_norms: Norms = "bounded" if s.normalize or s.normalize_means else "any"
    term = partial(_batch_term if s.form == "batch" else _pair_term, settings=s)
    return (
        term(groups.similar, 1.0, norms),
        term(means, s.leaning, means_norms),
        term(groups.dissimilar, s.leaning, norms),
    )


def _ordered_rows(embeddings: Tensor, order: Tensor, normalize: bool) -> Tensor:
    if normalize:
        return unit_rows(embeddings, order)
    e = embeddings.index_select(0, order)
    return e.to(torch.promote_types(e.dtype, torch.float32))


def _with_unit_rows(groups: Groups) -> Groups:
    blocks = [
        block._replace(points=torch.stack([unit_rows(points) for points in block.points]))
        for block in groups.blocks
    ]
    return groups._replace(blocks=blocks)


def _pair_term(groups: Groups, y: float, norms: Norms, settings: Settings) -> Tensor:
    """Sum over all pairs of all groups, or that divided by their number."""
    loss = PairLoss(settings.form, y, settings.epsilon, settings.bias)
    total = _sum([pair_sum(*block[:2], loss, norms, settings.backend) for block in groups.blocks])
    return total if settings.reduction == "sum" else total / _at_least_one(groups.pairs)


def _batch_term(groups: Groups, y: float, norms: Norms, settings: Settings) -> Tensor:
    """Mean over the groups that have a pair of the fraction of each."""
    mean = settings.reduction == "mean"
    total = _sum(
        [
            fraction_sum(*block, y, settings.epsilon, mean=mean, bounded=norms != "any")
            for block in groups.blocks
        ]
    )
    return total / _at_least_one(groups.number)


def _sum(scalars: list[Tensor]) -> Tensor:
    return scalars[0] if len(scalars) == 1 else torch.stack(scalars).sum()


def _at_least_one(number: int | Tensor) -> int | Tensor:
    return number.clamp_min(1) if isinstance(number, Tensor) else max(number, 1)
