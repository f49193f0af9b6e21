"""The batch form in closed form: sums over the pairs of a group without its pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simo_cl.losses.blocks import parts
from simo_cl.losses.first_order import first_order_only


def fraction_sum(
    points: Tensor,
    keys: Tensor | None,
    mixed: bool,
    y: float,
    epsilon: float,
    *,
    mean: bool,
    bounded: bool,
) -> Tensor:
    """Sum over groups of ``y * D/(eps + O) + (1 - y) * O/(eps + D)``; 0 for groups of one or none.

    D and O are the sums (`mean`: the means) of d_ij and o_ij over the group's pairs i < j:

        sum d_ij = n sum_i |e_i - m|^2
        sum o_ij = (|E^T E|_F^2 - sum_i |e_i|^4)/2 = sum_{i<j} G_ij^2

    with m the group's mean and G = E E^T. The smaller of the two Gram matrices is used: G for
    n <= d, where only G can tell an orthogonal group from rounding; E^T E for n > d, where no
    group is orthogonal. There the difference cancels only if few rows outweigh all others, so it is
    taken in float64 unless the norms are bounded. Time O(N d min(n, d)), memory O(N d) and one
    block. A second derivative is refused.

    Args:
        points: (groups, n, d), float32 or float64.
        keys: (groups, n) or None; a negative key marks padding, whose row is zero.
        mixed: `points` (1, n, d) holds several groups, told apart by their keys from 0 to n - 1;
            then time and memory are O(n^2).
        bounded: no norm is above 1.
    """
    if mixed and keys is not None:
        return _fraction_sum_by_key(points[0], keys[0], y, epsilon, mean)
    return _FractionSum.apply(points, keys, y, epsilon, mean, bounded)


class _FractionSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        keys: Tensor | None,
        y: float,
        epsilon: float,
        mean: bool,
        bounded: bool,
    ) -> Tensor:
        total = points.new_zeros(())
        gradient = None
        if ctx.needs_input_grad[0]:
            gradient = torch.empty_like(points, memory_format=torch.contiguous_format)
        n, columns = points.shape[1:]
        numbers_of_group = n * columns + min(n, columns) ** 2  # its rows and its Gram matrix
        for groups in parts(len(points), numbers_of_group, points.device):
            e = points[groups]
            exists = (
                torch.ones_like(e[..., :1]) if keys is None else (keys[groups, :, None] >= 0).to(e)
            )
            size = exists.sum(1, keepdim=True)
            pairs = (size * (size - 1) / 2).clamp_min(1) if mean else torch.ones_like(size)
            away = (e - e.sum(1, keepdim=True) / size.clamp_min(1)) * exists
            d = size * away.square().sum((1, 2), keepdim=True) / pairs
            o, o_gradient = _squared_products(e, e.dtype if bounded else torch.float64)
            o = o / pairs
            p, q = 1 / (epsilon + o), 1 / (epsilon + d)
            total += (y * d * p + (1 - y) * o * q).sum()
            if gradient is not None:
                by_d, by_o = y * p - (1 - y) * o * q * q, (1 - y) * q - y * d * p * p
                away.mul_(2 * size * by_d / pairs)
                gradient[groups] = away.addcmul_(o_gradient(), by_o / pairs)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None, None


def _squared_products(e: Tensor, accurate: torch.dtype) -> tuple[Tensor, Callable[[], Tensor]]:
    """Sum of o_ij over the pairs of each group, (groups, 1, 1), and what gives its gradient by the
    rows.

    accurate: the type in which |E^T E|^2 - sum |e_i|^4 is taken.
    """
    n, d = e.shape[1:]
    if n <= d:
        gram = torch.bmm(e, e.transpose(1, 2))
        gram.diagonal(dim1=1, dim2=2).zero_()
        value = gram.square().sum((1, 2), keepdim=True) / 2
        return value, lambda: 2 * torch.bmm(gram, e)
    rows = e.to(accurate)
    gram = torch.bmm(rows.transpose(1, 2), rows)
    square = rows.square().sum(2, keepdim=True)
    total = gram.square().sum((1, 2), keepdim=True) - square.square().sum(1, keepdim=True)
    value = total.clamp_min(0).to(e.dtype) / 2
    return value, lambda: torch.bmm(rows, gram).addcmul_(square, rows, value=-1).mul_(2).to(e.dtype)


def _fraction_sum_by_key(e: Tensor, key: Tensor, y: float, epsilon: float, mean: bool) -> Tensor:
    """From all pairs: a row carries its group's numbers and counts one over the group's size."""
    together = key[:, None] == key[None, :]
    size = together.sum(1)
    pairs = (size * (size - 1) / 2).clamp_min(1) if mean else torch.ones_like(size)

    def over_group(of_row: Tensor) -> Tensor:
        return torch.zeros_like(of_row).index_add(0, key, of_row)[key]

    away = e - over_group(e) / size[:, None]
    d = over_group(away.square().sum(1)) * size / pairs
    products = (e @ e.T).square() * together.fill_diagonal_(False)
    o = over_group(products.sum(1)) / (2 * pairs)
    return ((y * d / (epsilon + o) + (1 - y) * o / (epsilon + d)) / size).sum()
