"""Losses of pairs in one pass: value and gradient from one sweep over blocks of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from simo_cl.losses.blocks import at_once
from simo_cl.losses.first_order import first_order_only
from simo_cl.losses.pair_losses import PairLoss, Part
from simo_cl.losses.threads import sum_over

Norms = Literal["unit", "bounded", "any"]


def pair_sum(
    points: Tensor,
    keys: Tensor | None,
    loss: PairLoss,
    norms: Norms,
    backend: str = "torch",
) -> Tensor:
    """Sum over the pairs i < j of each group of the loss of a pair.

    Memory beside `points` and its gradient: one block of pairs. A second derivative is refused.

    Args:
        points: (groups, n, d), float32 or float64.
        keys: (groups, n) or None; i and j of a group count as a pair only where their keys are
            equal. None: every pair counts.
        loss: of a pair, the same for every group.
        norms: "unit": every row has norm 1, or is a zero row, whose cosine with any other counts
            as 0. The pair loss is then a function of the cosine alone, and its gradient leaves
            out the part along the row itself, which scaling to unit norm discards anyway.
            "bounded": no norm is above 1, so that distances come from the dot products. "any":
            distances come from differences, several times as slow.
        backend: "torch" or "triton", see `add_pair_sum`.
    """
    return _PairSum.apply(points, keys, loss, norms, backend)


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        keys: Tensor | None,
        loss: PairLoss,
        norms: Norms,
        backend: str = "torch",
    ) -> Tensor:
        total = points.new_zeros(())
        gradient = points.new_zeros(points.shape) if ctx.needs_input_grad[0] else None
        add_pair_sum(points, keys, loss, norms, total, gradient, backend=backend)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None


def add_pair_sum(
    points: Tensor,
    keys: Tensor | None,
    loss: PairLoss,
    norms: Norms,
    total: Tensor,
    gradient: Tensor | None,
    *,
    scale: float = 1.0,
    backend: str = "torch",
) -> None:
    """Adds `scale` times `pair_sum` to `total`, and its gradient by `points` to `gradient`.

    gradient: of the same shape; None if it is not wanted.
    backend: "torch", or "triton" for one kernel on a CUDA device, in float32.
    """
    if backend == "triton":
        from simo_cl.losses import pairwise_triton

        wanted = gradient is not None
        addends = pairwise_triton.sweep(
            points, keys, loss, norms, scale=scale, with_gradient=wanted
        )
        total += addends[0]
        if gradient is not None:
            gradient += addends[1]
        return

    def sweep(groups: tuple[Any, ...], total: Tensor) -> None:
        e, own_keys, own_gradient = groups
        for block in _blocks(e.contiguous(), own_keys):
            c = torch.bmm(block.e_i, block.e_j.transpose(1, 2))
            d = None if norms == "unit" else _squared_distances(block, c, norms)
            part = loss.of(block, c, d)
            total.add_(part.loss, alpha=scale * part.loss_factor * block.share)
            if own_gradient is not None:
                block.add_gradient(part, scale, own_gradient)

    sum_over(in_blocks(points, keys, gradient), sweep, total)


def in_blocks(points: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The same groups of all, so many that their rows and pairs make one block."""
    groups, n, d = points.shape
    number = at_once(n * (n + d), points.device)
    if groups <= number:
        yield points, *others
        return
    for first in range(0, groups, number):
        yield tuple(None if x is None else x[first : first + number] for x in (points, *others))


def _blocks(e: Tensor, keys: Tensor | None) -> Iterator[_Block]:
    """All pairs of the groups `e`, met twice; of a large group a few rows at a time, met once."""
    n = e.shape[1]
    rows = at_once(2 * n, e.device)
    if n <= rows:
        yield _Block(e, e, None if keys is None else keys[:, :, None] == keys[:, None, :])
        return
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
            factor[..., : factor.shape[1]].triu_(1)
        return factor if self.equal is None else factor.mul_(self.equal)

    def sums(self, x: Tensor) -> Tensor:
        """For each row j, the sum of `x` (groups, i, j) over its pairs."""
        sums = x.sum(1)
        if self.first is not None:
            sums[:, : x.shape[1]] += x.sum(2)
        return sums

    def add_gradient(self, part: Part, scale: float, gradient: Tensor) -> None:
        """Add the gradient of `scale * part` by the groups' rows to `gradient`."""
        factor = scale * part.factor
        of_i = of_j = gradient
        if self.first is not None:
            of_j = gradient[:, self.first :]
            of_i = of_j[:, : self.e_i.shape[1]]
            of_j.baddbmm_(part.slope.transpose(1, 2), self.e_i, alpha=factor)
        of_i.baddbmm_(part.slope, self.e_j, alpha=factor)
        if part.own is not None:
            of_j.addcmul_(self.e_j, part.own[..., None], value=-factor)


def _squared_distances(block: _Block, c: Tensor, norms: Norms) -> Tensor:
    if norms == "any":
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(block.e_i, block.e_j, compute_mode=exact).square_()
    square = torch.linalg.vecdot(block.e_j, block.e_j)
    of_i = square[:, : c.shape[1], None]
    return (of_i + square[:, None, :]).sub_(c, alpha=2).clamp_min_(0)
