"""Rows at unit norm, with the analytic gradient, put in a given order on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simo_cl.losses.first_order import first_order_only

SMALLEST_ENTRY = 1e-30  # a row is scaled up to unit norm if its largest entry is not below this


def unit_rows(x: Tensor, order: Tensor | None = None) -> Tensor:
    """The rows of `x` (N, d) scaled to norm 1, row `order[i]` in place i.

    Half precision becomes float32. Rows of any finite norm are scaled without overflow or
    underflow; a zero row stays zero. The gradient is (I - e e^T) g / |x|; that of a zero row is g.
    For float16 it is limited to the largest float16, where a tiny row would make it infinite.
    """
    return _UnitRows.apply(x, order)


def to_unit(x: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """The unit rows and the inverse norms (N, 1), 1 for a zero row."""
    e = x.clone() if order is None else x.index_select(0, order)
    e = e.to(torch.promote_types(x.dtype, torch.float32))
    # Dividing by the largest entry first keeps the squares in the range of the type.
    largest = torch.maximum(e.amax(1, keepdim=True), -e.amin(1, keepdim=True))
    shrink = largest.clamp_min_(SMALLEST_ENTRY).reciprocal_()
    length = torch.linalg.vector_norm(e.mul_(shrink), dim=1, keepdim=True)
    is_zero = length == 0
    stretch = length.masked_fill_(is_zero, 1.0).reciprocal_()
    return e.mul_(stretch), stretch.mul_(shrink).masked_fill_(is_zero, 1.0)


def from_unit(
    grad: Tensor,
    e: Tensor,
    inverse_norm: Tensor,
    order: Tensor | None,
    dtype: torch.dtype,
    *,
    in_place: bool = False,
) -> Tensor:
    """The gradient by the rows before `to_unit`, from that by the unit rows `e`."""
    radial = torch.bmm(grad[:, None, :], e[:, :, None])[:, 0]
    own = grad if in_place else grad.clone()
    own.addcmul_(e, radial, value=-1).mul_(inverse_norm)
    if dtype == torch.float16:
        largest = torch.finfo(dtype).max
        own.clamp_(-largest, largest)
    own = own.to(dtype)
    return own if order is None else own.index_select(0, _inverse(order))


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor | None) -> Tensor:
        e, inverse_norm = to_unit(x, order)
        ctx.save_for_backward(e, inverse_norm, order)
        ctx.dtype = x.dtype
        return e

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        e, inverse_norm, order = ctx.saved_tensors
        return from_unit(grad, e, inverse_norm, order, ctx.dtype), None


def _inverse(order: Tensor) -> Tensor:
    """The permutation that undoes `order` (N,)."""
    position = torch.arange(len(order), device=order.device)
    return torch.empty_like(order).scatter_(0, order, position)
