"""Rows at unit norm, with the analytic gradient, put in a given order on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALLEST_NORM = 1e-30  # a row with no larger entry counts as zero, as far as rounding goes


def unit_rows(x: Tensor, order: Tensor | None = None) -> Tensor:
    """The rows of `x` (N, d) scaled to norm 1, row `order[i]` in place i.

    Half precision becomes float32. Rows of any finite norm are scaled without overflow or
    underflow; a zero row stays zero. The gradient is (I - e e^T) g / |x|; that of a zero row is g.
    For float16 it is limited to the largest float16, where a tiny row would make it infinite.
    """
    return _UnitRows.apply(x, order)


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor | None) -> Tensor:
        e = x.clone() if order is None else x.index_select(0, order)
        e = e.to(torch.promote_types(x.dtype, torch.float32))
        # Dividing by the largest entry first keeps the squares in the range of the type.
        largest = torch.maximum(e.amax(1, keepdim=True), -e.amin(1, keepdim=True))
        shrink = largest.clamp_min_(SMALLEST_NORM).reciprocal_()
        length = torch.linalg.vector_norm(e.mul_(shrink), dim=1, keepdim=True)
        stretch = torch.where(length > 0, length.reciprocal(), 1.0)
        e.mul_(stretch)
        ctx.save_for_backward(e, torch.where(length > 0, shrink * stretch, 1.0), order)
        ctx.dtype = x.dtype
        return e

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        e, inverse_norm, order = ctx.saved_tensors
        radial = torch.bmm(grad[:, None, :], e[:, :, None])[:, 0]
        grad = torch.addcmul(grad, e, radial, value=-1).mul_(inverse_norm)
        if ctx.dtype == torch.float16:
            largest = torch.finfo(torch.float16).max
            grad = grad.clamp_(-largest, largest)
        grad = grad.to(ctx.dtype)
        return (grad if order is None else grad.index_select(0, _inverse(order))), None


def _inverse(order: Tensor) -> Tensor:
    """The permutation that undoes `order` (N,)."""
    position = torch.arange(len(order), device=order.device)
    return torch.empty_like(order).scatter_(0, order, position)
