"""Rows at unit norm, with the analytic gradient, put in a given order on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simo_cl.losses.blocks import parts
from simo_cl.losses.first_order import first_order_only
from simo_cl.losses.layout import can_be_read
from simo_cl.losses.threads import share_out

SMALLEST_ENTRY = 1e-30  # a row whose entries are all below this counts as zero
# Norms whose squares every floating point type of at least 32 bits holds with all digits.
SMALLEST_NORM, LARGEST_NORM = 1e-15, 1e15


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

        def project(rows: slice) -> None:
            before_scaling_(own[rows], e[rows], inverse_norm[rows])

        share_out(project, list(parts(len(own), own.shape[1], own.device)), own)
        own = in_type(own, ctx.dtype)
        return own if order is None else in_batch_order(own, order), None


def to_unit(x: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """The unit rows and the inverse norms (N, 1), 1 for a zero row."""
    blocks = list(parts(len(x), x.shape[1], x.device))
    if len(blocks) <= 1:
        return _to_unit(x.clone() if order is None else x.index_select(0, order))
    e = x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    inverse_norm = e.new_empty(len(x), 1)

    def scale(rows: slice) -> None:
        given = x[rows].clone() if order is None else x.index_select(0, order[rows])
        e[rows], inverse_norm[rows] = _to_unit(given)

    share_out(scale, blocks, x)
    return e, inverse_norm


def _to_unit(e: Tensor) -> tuple[Tensor, Tensor]:
    """In place, where the rows need no other type."""
    if e.dtype.itemsize < 4:
        e = e.float()
    length = torch.linalg.vector_norm(e, dim=1, keepdim=True)
    # Almost always so; where a look costs nothing, it spares several passes over the rows.
    if can_be_read(length) and _squares_are_normal(length):
        return e.div_(length), length.reciprocal_()
    # Dividing by the largest entry first keeps the squares in the range of the type.
    largest = e.abs().amax(1, keepdim=True)
    is_zero = largest < SMALLEST_ENTRY
    shrink = largest.masked_fill_(is_zero, 1.0).reciprocal_()
    length = torch.linalg.vector_norm(e.mul_(shrink), dim=1, keepdim=True)
    stretch = length.masked_fill_(is_zero, 1.0).reciprocal_()
    return e.mul_(stretch), stretch.mul_(shrink)


def _squares_are_normal(length: Tensor) -> bool:
    """Whether the squares that the lengths come from neither overflowed nor lost digits."""
    if len(length) == 0:
        return True
    least, most = length.aminmax()
    return least.item() > SMALLEST_NORM and most.item() < LARGEST_NORM


def before_scaling_(grad: Tensor, e: Tensor, inverse_norm: Tensor) -> None:
    """The gradient by the unit rows `e` becomes that by the rows before `to_unit`, in place."""
    radial = (grad * e).sum(-1, keepdim=True)
    grad.addcmul_(e, radial, value=-1).mul_(inverse_norm)


def in_batch_order(rows: Tensor, order: Tensor, factor: Tensor | None = None) -> Tensor:
    """The rows, times `factor`, in the order that they had before `to_unit`."""
    place = torch.arange(len(order), device=order.device)
    place = torch.empty_like(order).scatter_(0, order, place)
    blocks = list(parts(len(rows), rows.shape[1], rows.device))
    if len(blocks) == 1:
        own = rows.index_select(0, place)
        return own if factor is None else own.mul_(factor)
    own = torch.empty_like(rows)

    def put(part: slice) -> None:
        torch.index_select(rows, 0, place[part], out=own[part])
        if factor is not None:
            own[part].mul_(factor)

    share_out(put, blocks, rows)
    return own


def in_type(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient in the type of the rows before `to_unit`."""
    if dtype == torch.float16:
        largest = torch.finfo(dtype).max
        grad = grad.clamp(-largest, largest)
    return grad.to(dtype)
