"""Rows at unit norm, with the analytic gradient, put in a given order on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simo_cl.losses.first_order import first_order_only

SMALLEST_ENTRY = 1e-30  # a row whose entries are all below this counts as zero
NUMBERS_IN_A_BLOCK_ON_CPU = 2**15  # so that several passes over the rows of a block hit a cache


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
        e, inverse_norm = to_unit(x, order)
        ctx.save_for_backward(e, inverse_norm, order)
        ctx.dtype = x.dtype
        return e

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        e, inverse_norm, order = ctx.saved_tensors
        own = grad.clone(memory_format=torch.contiguous_format)
        before_scaling_(own, e, inverse_norm)
        own = in_type(own, ctx.dtype)
        return own if order is None else in_batch_order(own, order), None


def to_unit(x: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """The unit rows and the inverse norms (N, 1), 1 for a zero row."""
    e = x.clone() if order is None else x.index_select(0, order)
    e = e.to(torch.promote_types(x.dtype, torch.float32))
    # Dividing by the largest entry first keeps the squares in the range of the type.
    largest = e.abs().amax(1, keepdim=True)
    is_zero = largest < SMALLEST_ENTRY
    shrink = largest.masked_fill_(is_zero, 1.0).reciprocal_()
    length = torch.linalg.vector_norm(e.mul_(shrink), dim=1, keepdim=True)
    stretch = length.masked_fill_(is_zero, 1.0).reciprocal_()
    return e.mul_(stretch), stretch.mul_(shrink)


def before_scaling_(grad: Tensor, e: Tensor, inverse_norm: Tensor) -> None:
    """The gradient by the unit rows `e` becomes that by the rows before `to_unit`, in place."""
    n, d = e.shape
    rows = max(1, NUMBERS_IN_A_BLOCK_ON_CPU // d) if e.device.type == "cpu" else n
    for i in range(0, n, rows):
        own, of_e = grad[i : i + rows], e[i : i + rows]
        radial = (own * of_e).sum(1, keepdim=True)
        own.addcmul_(of_e, radial, value=-1).mul_(inverse_norm[i : i + rows])


def in_batch_order(rows: Tensor, order: Tensor) -> Tensor:
    """The rows in the order that they had before `to_unit`."""
    back = torch.empty_like(rows)
    back[order] = rows
    return back


def in_type(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient in the type of the rows before `to_unit`."""
    if dtype == torch.float16:
        largest = torch.finfo(dtype).max
        grad = grad.clamp(-largest, largest)
    return grad.to(dtype)
