"""The pairwise form in one pass: value and gradient from one sweep over blocks of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from simo_cl.losses.first_order import first_order_only

Norms = Literal["unit", "bounded", "any"]

# Pairs in one block. On a CPU a block of this size and its few temporaries stay in a core's cache;
# other devices need larger blocks to be busy.
PAIRS_IN_A_BLOCK_ON_CPU = 2**17
PAIRS_IN_A_BLOCK = 2**24
SMALL_EPSILON = 1e-3  # above it no rounding of a cosine matters beside epsilon


def pair_sum(
    points: Tensor,
    keys: Tensor | None,
    y: float,
    epsilon: float,
    norms: Norms,
    backend: str = "torch",
) -> Tensor:
    """Sum over the pairs i < j of each group of ``y * d/(eps + o) + (1 - y) * o/(eps + d)``.

    Memory beside `points` and its gradient: one block of pairs. A second derivative is refused.

    Args:
        points: (groups, n, d), float32 or float64.
        keys: (groups, n) or None; i and j of a group count as a pair only where their keys are
            equal. None: every pair counts.
        y: the label of every group, from 0 (dissimilar) to 1 (similar).
        epsilon: positive.
        norms: "unit": every row has norm 1, or is a zero row, whose cosine with any other counts
            as 0. The pair loss is then a function of the cosine alone, and its gradient leaves
            out the part along the row itself, which scaling to unit norm discards anyway.
            "bounded": no norm is above 1, so that distances come from the dot products. "any":
            distances come from differences, several times as slow.
        backend: "torch" or "triton", see `sweep`.
    """
    return _PairSum.apply(points, keys, y, epsilon, norms, backend)


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        keys: Tensor | None,
        y: float,
        epsilon: float,
        norms: Norms,
        backend: str = "torch",
    ) -> Tensor:
        gradient = points.new_zeros(points.shape) if ctx.needs_input_grad[0] else None
        total = sweep(points, keys, y, epsilon, norms, gradient=gradient, backend=backend)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None, None


def sweep(
    points: Tensor,
    keys: Tensor | None,
    y: float,
    epsilon: float,
    norms: Norms,
    *,
    scale: float = 1.0,
    gradient: Tensor | None = None,
    backend: str = "torch",
) -> Tensor:
    """`scale` times `pair_sum`.

    gradient: where the gradient by `points` is added to, of the same shape.
    backend: "torch", or "triton" for one kernel on a CUDA device, in float32.
    """
    if backend == "triton":
        from simo_cl.losses import pairwise_triton

        wanted = gradient is not None
        total, addend = pairwise_triton.sweep(
            points, keys, y, epsilon, norms, scale=scale, with_gradient=wanted
        )
        if gradient is not None:
            gradient += addend
        return total
    n = points.shape[1]
    pairs = PAIRS_IN_A_BLOCK_ON_CPU if points.device.type == "cpu" else PAIRS_IN_A_BLOCK
    totals = []
    for e, own_keys, own_gradient in _in_parts(max(1, pairs // (n * n)), points, keys, gradient):
        for block in _blocks(e.contiguous(), own_keys, pairs):
            part = _part(block, y, epsilon, norms)
            totals.append(part.loss * (part.loss_factor * block.share * scale))
            if own_gradient is not None:
                block.add_gradient(part, scale, own_gradient)
    return totals[0] if len(totals) == 1 else torch.stack(totals).sum()


def _in_parts(
    groups: int, points: Tensor, keys: Tensor | None, gradient: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """The same groups of all three, so many at once."""
    if len(points) <= groups:
        yield points, keys, gradient
        return
    for first in range(0, len(points), groups):
        part = slice(first, first + groups)
        yield (
            points[part],
            None if keys is None else keys[part],
            None if gradient is None else gradient[part],
        )


def _blocks(e: Tensor, keys: Tensor | None, pairs: int) -> Iterator[_Block]:
    """All pairs of the groups `e`, met twice; of large groups a few rows at a time, met once."""
    n = e.shape[1]
    if n * n <= pairs:
        yield _Block(e, e, None if keys is None else keys[:, :, None] == keys[:, None, :])
        return
    rows = max(1, pairs // n)
    for i in range(0, n, rows):
        equal = None if keys is None else keys[:, i : i + rows, None] == keys[:, None, i:]
        yield _Block(e[:, i : i + rows], e[:, i:], equal, first=i)


class _Block(NamedTuple):
    """Rows i of some groups, and the rows j that they are compared with.

    first: None if both are all rows: every pair is met twice, as (i, j) and as (j, i). Otherwise
        the row that both begin with: every pair is met once, for i < j.
    """

    e_i: Tensor
    e_j: Tensor
    equal: Tensor | None
    first: int | None = None

    @property
    def share(self) -> float:
        return 0.5 if self.first is None else 1.0

    def only(self, factor: Tensor) -> Tensor:
        """`factor` (groups, i, j) with the entries that are no pairs set to zero, in place."""
        if self.first is None:
            factor.diagonal(dim1=1, dim2=2).zero_()
        else:
            factor.triu_(1)
        return factor if self.equal is None else factor.mul_(self.equal)

    def sums(self, x: Tensor) -> Tensor:
        """For each row j, the sum of `x` (groups, i, j) over its pairs."""
        sums = x.sum(1)
        if self.first is not None:
            sums[:, : x.shape[1]] += x.sum(2)
        return sums

    def add_gradient(self, part: _Part, scale: float, gradient: Tensor) -> None:
        """Add the gradient of `scale * part` by the groups' rows to `gradient`."""
        factor = scale * part.factor
        of_j = gradient if self.first is None else gradient[:, self.first :]
        _add_product(of_j[:, : self.e_i.shape[1]], part.slope, self.e_j, factor)
        if self.first is not None:
            _add_product(of_j, part.slope.transpose(1, 2), self.e_i, factor)
        if part.own is not None:
            of_j.addcmul_(self.e_j, part.own[..., None], value=-factor)


def _add_product(target: Tensor, a: Tensor, b: Tensor, factor: float) -> None:
    if target.is_contiguous():
        target.baddbmm_(a, b, alpha=factor)
    else:  # one by one on a CPU, if left to baddbmm_
        target.add_(torch.bmm(a, b), alpha=factor)


class _Part(NamedTuple):
    """Sum of a loss over a block, and what its gradient needs.

    The sum is ``loss_factor * loss``, its gradient
    ``factor * (sum_j slope_ij e_j - own_i e_i)``, without `own` where rows have unit norm.
    """

    loss: Tensor
    loss_factor: float
    slope: Tensor
    factor: float
    own: Tensor | None = None


def _part(block: _Block, y: float, epsilon: float, norms: Norms) -> _Part:
    """The weighted sum of the similar and the dissimilar part of a block."""
    c = torch.bmm(block.e_i, block.e_j.transpose(1, 2))
    d = None if norms == "unit" else _squared_distances(block, c, norms)
    if y == 0:
        return _dissimilar(block, c, d, epsilon)
    if y == 1:
        return _similar(block, c, d, epsilon)
    similar, dissimilar = _similar(block, c, d, epsilon), _dissimilar(block, c, d, epsilon)
    by_similar, by_dissimilar = y * similar.factor, (1 - y) * dissimilar.factor
    return _Part(
        loss=similar.loss * (y * similar.loss_factor)
        + dissimilar.loss * ((1 - y) * dissimilar.loss_factor),
        loss_factor=1.0,
        slope=similar.slope.mul_(by_similar).add_(dissimilar.slope, alpha=by_dissimilar),
        factor=1.0,
        own=None
        if similar.own is None or dissimilar.own is None
        else similar.own * by_similar + dissimilar.own * by_dissimilar,
    )


def _similar(block: _Block, c: Tensor, d: Tensor | None, epsilon: float) -> _Part:
    """``d p`` with p = 1/(eps + c^2); its slope is -2 times p + p^2 c d.

    On unit rows d = 2 - 2c. The passes over a block are few and in place: they are the cost beside
    the matrix products.
    """
    p = block.only(torch.addcmul(c.new_full((), epsilon), c, c).reciprocal_())
    if d is None:
        half = torch.addcmul(p, p, c, value=-1)  # of the loss
        loss = half.sum()
        return _Part(loss, 2.0, p.addcmul_(p, half.mul_(c), value=2), -2.0)
    each = p * d
    loss, own = each.sum(), block.sums(p)
    return _Part(loss, 1.0, p.addcmul_(p, each.mul_(c)), -2.0, own)


def _dissimilar(block: _Block, c: Tensor, d: Tensor | None, epsilon: float) -> _Part:
    """``c h`` with h = c/(eps + d); its slope is 2 times h + h^2.

    On unit rows d = 2 - 2c; h is taken twice as large there.
    """
    if d is None:
        gap = torch.rsub(c, 1 + epsilon / 2)
        if epsilon < SMALL_EPSILON:
            gap.clamp_min_(epsilon / 4)  # rounding may put a cosine above 1
        h = block.only(torch.div(c, gap, out=gap))
        loss = torch.dot(c.flatten(), h.flatten())
        return _Part(loss, 0.5, h.addcmul_(h, h, value=0.5), 1.0)
    h = block.only(c / (d + epsilon))
    loss, square = torch.dot(c.flatten(), h.flatten()), h * h
    return _Part(loss, 1.0, h + square, 2.0, block.sums(square))


def _squared_distances(block: _Block, c: Tensor, norms: Norms) -> Tensor:
    if norms == "any":
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(block.e_i, block.e_j, compute_mode=exact).square_()
    square = block.e_j.square().sum(-1)
    of_i = square[:, : c.shape[1], None]
    return (of_i + square[:, None, :]).sub_(c, alpha=2).clamp_min_(0)
