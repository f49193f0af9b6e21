"""The batch form over all ranks by statistics of its groups, where those are less than the rows.

The loss of a group, and its gradient by a rank's own rows, need no more of the other rows than

    the sum of e_i    sum_i |e_i - m|^2 about the mean m    sum_i |e_i|^4    E^T E

which are sums over rows, hence over ranks: d + 1 + 1 + d(d + 1)/2 numbers, however many the rows.
They travel in two all-reduces, the sums first: without m, what is left of the groups' spread would
be the difference of two large numbers.

Only a *large* group, of n > d rows on all ranks together, goes that way. In a smaller one E^T E
cannot tell orthogonal rows from rounding (`simo_cl.losses.batch`), so its rows are gathered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from simo_cl.losses.arguments import Settings
from simo_cl.losses.batch import accurate_type, fraction, fraction_sum, numbers_of_group
from simo_cl.losses.blocks import at_once
from simo_cl.losses.distributed import gather_rows, sum_over_ranks
from simo_cl.losses.first_order import first_order_only
from simo_cl.losses.layout import blocks_of_rows, class_counts
from simo_cl.losses.unit_norm import unit_rows


@dataclass(frozen=True)
class Numbered:
    """The groups of one term over all ranks, numbered from the largest to the smallest.

    group: (N,) the number of each row's group, on the host.
    sizes: (groups,) descending, on the host.
    large: how many groups have more than d rows.
    with_pair: how many have more than one row.
    """

    group: Tensor
    sizes: Tensor
    large: int
    with_pair: int

    @property
    def is_small(self) -> Tensor:
        """(N,) whether a row's group has a pair and is not large."""
        return (self.group >= self.large) & (self.group < self.with_pair)


@dataclass(frozen=True)
class Exchange:
    """What travels: the sums of all classes, the statistics of large groups, the rows in others.

    rest: (N,) whether a row is in a group that has a pair and is not large, on the host.
    rest_shares: the number of those rows on each rank.
    """

    similar: Numbered
    dissimilar: Numbered
    shares: list[int]
    rest: Tensor
    rest_shares: list[int]


def plan_exchange(
    labels: Tensor,
    shares: list[int],
    d: int,
    dtype: torch.dtype,
    samples_per_class: int | None = None,
    normalize: bool = True,
) -> Exchange | None:
    """The exchange by statistics, or None where gathering all embeddings moves no more bytes.

    From each of W ranks a ring all-reduce of S numbers sends 2 (W - 1)/W S of them, and a ring
    all-gather of at most m rows a rank (W - 1) m d. So statistics are exchanged where

        2 (S s + T t) + W m_rest d s < W m d b

        S = (C + K') d,  T = (C' + K') (d (d + 1)/2 + 2)

    with C classes, C' of them large; K' large groups among the k-th samples; m and m_rest the
    largest share of a rank of all rows and of those in a group that is not large; b the bytes of a
    number of `dtype`, s those of the type it is computed in, and t = s for unit rows, 8 for any.
    All this is known to every rank, so all take the same way.

    Args:
        labels: (N,) of all ranks, by rank and position, on the host.
        shares: the number of rows of each rank.
        d: the number of columns of the embeddings.
        dtype: of the embeddings.
        samples_per_class: checked against the labels.
        normalize: whether rows are scaled to unit norm.
    """
    ordered, order = torch.sort(labels, stable=True)
    counts = class_counts(ordered, samples_per_class)
    largest_first = torch.argsort(counts, descending=True, stable=True)
    number = torch.empty_like(counts).scatter_(0, largest_first, torch.arange(len(counts)))
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    k = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)) - starts)
    class_number = torch.empty_like(order).scatter_(0, order, number.repeat_interleave(counts))
    similar, dissimilar = _numbered(class_number, d), _numbered(k, d)

    rest = similar.is_small | dissimilar.is_small
    rest_shares = [int(part.sum()) for part in rest.split(shares)]
    large = similar.large + dissimilar.large
    sums = (len(counts) + dissimilar.large) * d
    statistics = large * (d * (d + 1) // 2 + 2)
    s = torch.promote_types(dtype, torch.float32).itemsize
    t = s if normalize else torch.float64.itemsize
    by_statistics = 2 * (sums * s + statistics * t) + len(shares) * max(rest_shares) * d * s
    by_gathering = len(shares) * max(shares) * d * dtype.itemsize
    if by_statistics >= by_gathering:
        return None
    return Exchange(similar, dissimilar, shares, rest, rest_shares)


def _numbered(group: Tensor, d: int) -> Numbered:
    sizes = group.bincount()
    return Numbered(group, sizes, large=int((sizes > d).sum()), with_pair=int((sizes > 1).sum()))


def statistics_terms(
    embeddings: Tensor, exchange: Exchange, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """The similar, means and dissimilar terms of the rows of all ranks, in the batch form.

    embeddings: (N, d), this rank's rows.
    """
    mean, leaning, epsilon = settings.reduction == "mean", settings.leaning, settings.epsilon
    e = unit_rows(embeddings) if settings.normalize else _at_least_float32(embeddings)
    similar, dissimilar = exchange.similar, exchange.dissimilar
    before = sum(exchange.shares[: dist.get_rank()])
    own = slice(before, before + len(e))
    class_number, k = similar.group[own], dissimilar.group[own]

    classes = len(similar.sizes)
    sums = sum_over_ranks(
        torch.cat(
            [
                _sum_by(class_number, e, classes),
                _sum_by(k, e, len(dissimilar.sizes))[: dissimilar.large],
            ]
        )
    )
    large = (class_number < similar.large, k < dissimilar.large)
    sizes = torch.cat([similar.sizes[: similar.large], dissimilar.sizes[: dissimilar.large]]).to(e)
    fractions = _Fractions.apply(
        e,
        torch.stack(
            [
                torch.where(large[0], class_number, -1),
                torch.where(large[1], similar.large + k, -1),
            ]
        ),
        torch.cat([sums[: similar.large], sums[classes:]]).detach() / sizes[:, None],
        sizes,
        torch.cat([e.new_ones(similar.large), e.new_full((dissimilar.large,), leaning)]),
        epsilon,
        mean,
        settings.normalize,
    )
    totals = [fractions[: similar.large].sum(), fractions[similar.large :].sum()]
    if any(exchange.rest_shares):
        rows = gather_rows(_rows(e, exchange.rest[own].nonzero()[:, 0]), exchange.rest_shares)
        for i, (term, y) in enumerate(((similar, 1.0), (dissimilar, leaning))):
            group = torch.where(term.is_small, term.group, -1)[exchange.rest]
            totals[i] = totals[i] + _small(rows, group, y, epsilon, mean, settings.normalize)
    means = sums[:classes] / similar.sizes.to(e)[:, None]
    means = unit_rows(means) if settings.normalize_means else means
    bounded = settings.normalize or settings.normalize_means
    return (
        totals[0] / max(similar.with_pair, 1),
        fraction_sum(means[None], None, False, leaning, epsilon, mean=mean, bounded=bounded),
        totals[1] / max(dissimilar.with_pair, 1),
    )


class _Fractions(torch.autograd.Function):
    """The fraction of each large group over all ranks, (groups,).

    e: (N, d), this rank's rows.
    membership: (2, N), on the host, the groups that each row is in, -1 for none.
    means, size, y: (groups, d), (groups,), (groups,), over all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any,
        e: Tensor,
        membership: Tensor,
        means: Tensor,
        size: Tensor,
        y: Tensor,
        epsilon: float,
        mean: bool,
        bounded: bool,
    ) -> Tensor:
        n, columns = e.shape
        accurate = accurate_type(e, bounded)
        padded = _with_zero_row(e)
        blocks = list(_blocks(membership, columns, e.device))

        def points_and_away(rows: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
            points = _rows(padded, rows).to(accurate)
            away = points - _rows(means, groups)[:, None]
            return points, away.masked_fill_((rows == n)[..., None], 0)

        i, j = torch.triu_indices(columns, columns, device=e.device)
        statistics = torch.zeros(len(means), 2 + len(i), dtype=accurate, device=e.device)
        for _, rows, groups in blocks:
            points, away = points_and_away(rows, groups)
            statistics[groups, 0] = away.square().sum((1, 2))
            statistics[groups, 1] = points.square().sum(2).square().sum(1)
            statistics[groups, 2:] = torch.bmm(points.transpose(1, 2), points)[:, i, j]

        statistics = sum_over_ranks(statistics)
        gram = statistics.new_empty(len(means), columns, columns)
        gram[:, i, j] = gram[:, j, i] = statistics[:, 2:]
        pairs = size * (size - 1) / 2 if mean else torch.ones_like(size)
        d = size * statistics[:, 0] / pairs
        o = (gram.square().sum((1, 2)) - statistics[:, 1]).clamp_min(0) / (2 * pairs)
        value, by_d, by_o = fraction(d, o, y, epsilon)

        by_away, by_product = 2 * size * by_d / pairs, 2 * by_o / pairs
        gradient = e.new_zeros(len(membership), n + 1, columns)
        for term, rows, groups in blocks:
            points, away = points_and_away(rows, groups)
            products = torch.bmm(points, gram[groups])
            products.addcmul_(points.square().sum(2, keepdim=True), points, value=-1)
            away.mul_(by_away[groups, None, None])
            away.addcmul_(products, by_product[groups, None, None])
            gradient[term].index_copy_(0, rows.flatten(), away.flatten(0, 1).to(e))
        ctx.save_for_backward(gradient, membership.to(e.device))
        return value.to(e)

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, membership = ctx.saved_tensors
        grad = torch.cat([grad * dist.get_world_size(), grad.new_zeros(1)])  # -1 is the zero
        terms = zip(gradient[:, :-1], grad[membership], strict=True)
        total = sum(of_term * weight[:, None] for of_term, weight in terms)
        return total, None, None, None, None, None, None, None


def _blocks(
    membership: Tensor, d: int, device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The term, the rows (groups, n) and the numbers (groups,) of a block's groups."""
    for term, group in enumerate(membership):
        for rows, groups in blocks_of_rows(group):
            number = at_once(numbers_of_group(max(rows.shape[1], d), d), device)
            for part in zip(rows.split(number), groups.split(number), strict=True):
                yield term, part[0].to(device), part[1].to(device)


def _small(e: Tensor, group: Tensor, y: float, epsilon: float, mean: bool, bounded: bool) -> Tensor:
    """Sum of the fractions of groups whose rows are all in `e`."""
    padded = _with_zero_row(e)
    total = e.new_zeros(())
    for rows, _ in blocks_of_rows(group):
        keys = torch.where(rows < len(e), 0, -1 - torch.arange(rows.shape[1])).to(e.device)
        total = total + fraction_sum(
            _rows(padded, rows), keys, False, y, epsilon, mean=mean, bounded=bounded
        )
    return total


def _sum_by(group: Tensor, e: Tensor, groups: int) -> Tensor:
    return e.new_zeros(groups, e.shape[1]).index_add(0, group.to(e.device), e)


def _rows(e: Tensor, rows: Tensor) -> Tensor:
    """`e[rows]`, for `rows` of any shape and device."""
    return e.index_select(0, rows.flatten().to(e.device)).view(*rows.shape, e.shape[1])


def _with_zero_row(e: Tensor) -> Tensor:
    return torch.cat([e, e.new_zeros(1, e.shape[1])])


def _at_least_float32(e: Tensor) -> Tensor:
    return e.to(torch.promote_types(e.dtype, torch.float32))
