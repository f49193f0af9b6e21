"""The pairwise form in one pass: value and gradient from one sweep over blocks of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from simo_cl.losses.first_order import first_order_only

Norms = Literal["unit", "bounded", "any"]

# Pairs in one block. On a CPU a block of this size and its few temporaries stay in a core's cache;
# other devices need larger blocks to be busy.
PAIRS_IN_A_BLOCK_ON_CPU = 2**17
PAIRS_IN_A_BLOCK = 2**24


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
        wanted = ctx.needs_input_grad[0]
        total, gradient = sweep(
            points, keys, y, epsilon, norms, with_gradient=wanted, backend=backend
        )
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
    with_gradient: bool = True,
    backend: str = "torch",
) -> tuple[Tensor, Tensor]:
    """`scale` times the sum of `pair_sum` and, if wanted, its gradient by `points`.

    backend: "torch", or "triton" for one kernel on a CUDA device, in float32.
    """
    if backend == "triton":
        from simo_cl.losses import pairwise_triton

        return pairwise_triton.sweep(
            points, keys, y, epsilon, norms, scale=scale, with_gradient=with_gradient
        )
    gradient = torch.empty(points.shape, dtype=points.dtype, device=points.device)
    totals = []
    for groups, rows in _blocks(points):
        e = points[groups].contiguous()
        pairs = _Pairs(rows, None if keys is None else keys[groups])
        if norms == "unit":
            total, slope, factor = _sweep_cosines(e, pairs, y, epsilon)
        else:
            total, slope, own = _sweep_distances(e, pairs, y, epsilon, norms)
            factor = 2.0
        totals.append(total)
        if with_gradient:
            block = gradient[groups, rows]
            torch.baddbmm(block, slope, e, beta=0, alpha=scale * factor, out=block)
            if norms != "unit":
                block.addcmul_(e[:, rows], own, value=2 * scale)
    total = totals[0] if len(totals) == 1 else torch.stack(totals).sum()
    # Every pair was met twice, as (i, j) and as (j, i).
    return total * (scale / 2), gradient


def _sweep_cosines(
    e: Tensor, pairs: _Pairs, y: float, epsilon: float
) -> tuple[Tensor, Tensor, float]:
    """Loss of a block of unit rows, where d = 2 - 2c and o = c^2, and its slope dl/dc.

    The slope is what is returned second times what is returned third. Similar: -2 times p + 2pch
    with p = 1/(eps + c^2) and h = (1 - c) p. Dissimilar: h + h^2/2 with h = c/(1 + eps/2 - c).
    The passes over the block are few and in place: they are the cost beside the matrix products.
    """
    c = torch.bmm(e[:, pairs.rows], e.transpose(1, 2))
    if y > 0:
        p = pairs.only(torch.addcmul(c.new_full((), epsilon), c, c).reciprocal_())
        h = torch.addcmul(p, p, c, value=-1)
        similar = h.sum() * (2 * y)
        pull = p.addcmul_(p, h.mul_(c), value=2)
        if y == 1:
            return similar, pull, -2.0
    # Rounding may put a cosine above 1, by less than the gap unless epsilon is tiny.
    gap = torch.rsub(c, 1 + epsilon / 2).clamp_min_(epsilon / 4)
    h = pairs.only(gap.reciprocal_()).mul_(c)
    dissimilar = torch.dot(c.flatten(), h.flatten()) * ((1 - y) / 2)
    push = torch.addcmul(h, h, h, value=0.5)
    if y == 0:
        return dissimilar, push, 1.0
    return similar + dissimilar, push.mul_(1 - y).sub_(pull, alpha=2 * y), 1.0


def _sweep_distances(
    e: Tensor, pairs: _Pairs, y: float, epsilon: float, norms: Norms
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of a block of any rows, and what its gradient needs.

    With a = dl/dd and b = dl/do the gradient is

        sum_j 2 a_ij (e_i - e_j) + 2 b_ij c_ij e_j
            = 2 sum_j (b_ij c_ij - a_ij) e_j + 2 (sum_j a_ij) e_i;

    second and third are the two brackets.
    """
    c = torch.bmm(e[:, pairs.rows], e.transpose(1, 2))
    d, o = _squared_distances(e, pairs.rows, c, norms), c * c
    parts = []
    if y > 0:
        p = pairs.only((o + epsilon).reciprocal_())
        similar = (d * p).mul_(y)
        parts.append((similar.sum(), y * p, similar.mul_(p).neg_()))
    if y < 1:
        q = pairs.only((d + epsilon).reciprocal_())
        dissimilar = (o * q).mul_(1 - y)
        parts.append((dissimilar.sum(), dissimilar.mul_(q).neg_(), (1 - y) * q))
    total, a, b = (sum(x[1:], x[0]) for x in zip(*parts, strict=True))
    return total, (b * c).sub_(a), a.sum(-1, keepdim=True)


def _squared_distances(e: Tensor, rows: slice, c: Tensor, norms: Norms) -> Tensor:
    if norms == "any":
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(e[:, rows], e, compute_mode=exact).square_()
    square = e.square().sum(-1)
    return (square[:, rows, None] + square[:, None, :]).sub_(c, alpha=2).clamp_min_(0)


class _Pairs:
    """Which entries (group, row i, column j) of a block are pairs."""

    def __init__(self, rows: slice, keys: Tensor | None) -> None:
        self.rows = rows
        self._equal = None if keys is None else keys[:, rows, None] == keys[:, None, :]

    def only(self, factor: Tensor) -> Tensor:
        """`factor` with the entries that are no pairs set to zero, in place."""
        factor[:, :, self.rows].diagonal(dim1=1, dim2=2).zero_()
        return factor if self._equal is None else factor.mul_(self._equal)


def _blocks(points: Tensor) -> Iterator[tuple[slice, slice]]:
    """Whole groups as long as a block holds one, otherwise rows of one group."""
    groups, n, _ = points.shape
    pairs = PAIRS_IN_A_BLOCK_ON_CPU if points.device.type == "cpu" else PAIRS_IN_A_BLOCK
    groups_at_once = max(1, pairs // (n * n))
    rows_at_once = n if n * n <= pairs else max(1, pairs // n)
    for group in range(0, groups, groups_at_once):
        for row in range(0, n, rows_at_once):
            yield slice(group, group + groups_at_once), slice(row, min(row + rows_at_once, n))
