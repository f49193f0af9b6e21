"""The sweep over pairs as one Triton kernel; imported only when it is asked for.

A program owns a block of rows of one group and loops over the group's columns block by block. It
forms the products of the two blocks, from them the loss and its slopes, and adds the slopes times
the columns to the gradient of its rows. No other program writes there, so nothing is atomic and
sums have one order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from simo_cl.losses.pair_losses import PairLoss

# The largest blocks that ptxas keeps in the registers of 8 warps of an H100 (distances need more of
# them than cosines do), in rows, in numbers of a row's gradient and in terms of a dot product.
LARGEST_BLOCK_N = 64
LARGEST_BLOCK_D = {"unit": 128, "bounded": 64, "any": 64}
LARGEST_BLOCK_K = 32
SMALLEST_BLOCK = 16  # what Triton's dot products need


def sweep(
    points: Tensor,
    keys: Tensor | None,
    loss: PairLoss,
    norms: str,
    *,
    scale: float = 1.0,
    with_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """What `simo_cl.losses.pairwise.add_pair_sum` adds, for float32 `points` on a CUDA device.

    Dot products are true float32 and so are all sums. Memory beside the gradient: one number for
    every block of rows.
    """
    return _sweep(points, keys, *loss, norms, scale, with_gradient)


# An operator of its own is what torch.compile and fake tensors need not look into.
@torch.library.custom_op(
    "simo_cl::sweep_pairs",
    mutates_args=(),
    schema="(Tensor points, Tensor? keys, str form, float y, float epsilon, float bias, str norms, "
    "float scale, bool with_gradient) -> (Tensor, Tensor)",
)
def _sweep(
    points: Tensor,
    keys: Tensor | None,
    form: str,
    y: float,
    epsilon: float,
    bias: float,
    norms: str,
    scale: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    groups, n, d = points.shape
    if n < 2:
        return points.new_zeros(()), points.new_zeros(points.shape)
    block_n, block_d = _block(n, LARGEST_BLOCK_N), _block(d, LARGEST_BLOCK_D[norms])
    blocks = triton.cdiv(n, block_n)
    parts = triton.cdiv(d, block_d) if with_gradient else 1
    gradient = torch.empty(points.shape, dtype=points.dtype, device=points.device)
    totals = points.new_empty(groups * blocks)
    with torch.cuda.device_of(points):
        _sweep_rows[(groups * blocks, parts)](
            points,
            points if keys is None else keys.contiguous(),
            gradient,
            totals,
            n,
            d,
            *points.stride(),
            y,
            epsilon,
            bias,
            scale,
            HAS_KEYS=keys is not None,
            FORM=form,
            NORMS=norms,
            SIMILAR=y > 0,
            DISSIMILAR=y < 1,
            WITH_GRADIENT=with_gradient,
            BLOCK_N=block_n,
            BLOCK_D=block_d,
            BLOCK_K=_block(d, LARGEST_BLOCK_K),
            num_warps=8 if block_n == LARGEST_BLOCK_N else 4,
        )
    return totals.sum(), gradient


@_sweep.register_fake
def _(
    points: Tensor,
    keys: Tensor | None,
    form: str,
    y: float,
    epsilon: float,
    bias: float,
    norms: str,
    scale: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    return points.new_empty(()), points.new_empty(points.shape)


def _block(size: int, largest: int) -> int:
    return min(max(triton.next_power_of_2(size), SMALLEST_BLOCK), largest)


@triton.jit
def _sweep_rows(
    points: tl.tensor,
    keys: tl.tensor,
    gradient: tl.tensor,
    totals: tl.tensor,
    n: tl.tensor,
    d: tl.tensor,
    group_stride: tl.tensor,
    row_stride: tl.tensor,
    column_stride: tl.tensor,
    y: tl.tensor,
    epsilon: tl.tensor,
    bias: tl.tensor,
    scale: tl.tensor,
    HAS_KEYS: tl.constexpr,
    FORM: tl.constexpr,
    NORMS: tl.constexpr,
    SIMILAR: tl.constexpr,
    DISSIMILAR: tl.constexpr,
    WITH_GRADIENT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    """Rows of `program_id(0)`; of their gradient the BLOCK_D numbers of `program_id(1)`."""
    blocks = tl.cdiv(n, BLOCK_N)
    group = (tl.program_id(0) // blocks).to(tl.int64)
    rows = (tl.program_id(0) % blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    part = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    there = rows < n
    own = points + group * group_stride + rows.to(tl.int64) * row_stride
    squares = _squares(own, there, d, column_stride, NORMS, BLOCK_N, BLOCK_K)
    if HAS_KEYS:
        row_keys = tl.load(keys + group * n + rows, mask=there, other=0)

    total = tl.zeros((BLOCK_N,), tl.float32)
    own_slope = tl.zeros((BLOCK_N,), tl.float32)
    result = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    for first in range(0, n, BLOCK_N):
        columns = first + tl.arange(0, BLOCK_N)
        column_there = columns < n
        others = points + group * group_stride + columns.to(tl.int64) * row_stride
        pair = there[:, None] & column_there[None, :] & (rows[:, None] != columns[None, :])
        if HAS_KEYS:
            column_keys = tl.load(keys + group * n + columns, mask=column_there, other=0)
            pair = pair & (row_keys[:, None] == column_keys[None, :])
        c = _products(own, there, others, column_there, d, column_stride, BLOCK_N, BLOCK_K)
        if NORMS == "unit":
            distance = 2 - 2 * c
        elif NORMS == "any":
            distance = _differences(own, there, others, column_there, d, column_stride, BLOCK_N)
        else:
            others_squares = _squares(
                others, column_there, d, column_stride, NORMS, BLOCK_N, BLOCK_K
            )
            distance = squares[:, None] + others_squares[None, :] - 2 * c
        # Rounding may put a cosine above 1.
        distance = tl.maximum(distance, 0.0)
        if FORM == "kernel":
            loss, by_product, by_distance = _kernel(
                c, distance, y, epsilon, bias, SIMILAR, DISSIMILAR
            )
        elif FORM == "distance":
            loss, by_product, by_distance = _distance(distance, y, epsilon)
        elif FORM == "orthogonality":
            loss, by_product, by_distance = _orthogonality(c, y, epsilon)
        else:
            loss, by_product, by_distance = _pairwise(
                c, distance, y, epsilon, FORM == "rectified", SIMILAR, DISSIMILAR
            )
        slope = by_product - 2 * by_distance
        if NORMS != "unit":
            own_slope += tl.sum(tl.where(pair, by_distance, 0.0), 1)
        total += tl.sum(tl.where(pair, loss, 0.0), 1)
        if WITH_GRADIENT:
            slope = tl.where(pair, slope, 0.0)
            e = _load(others, column_there, part, d, column_stride)
            result = tl.dot(slope, e, result, input_precision="ieee")

    # Every pair is met twice, as (i, j) and as (j, i).
    if tl.program_id(1) == 0:
        tl.store(totals + tl.program_id(0), tl.sum(total, 0) * (scale / 2))
    if WITH_GRADIENT:
        if NORMS != "unit":
            result += 2 * own_slope[:, None] * _load(own, there, part, d, column_stride)
        place = gradient + (group * n + rows.to(tl.int64))[:, None] * d + part[None, :]
        tl.store(place, result * scale, mask=there[:, None] & (part < d)[None, :])


@triton.jit
def _load(
    starts: tl.tensor, there: tl.tensor, k: tl.tensor, d: tl.tensor, column_stride: tl.tensor
) -> tl.tensor:
    """The numbers `k` of the rows that begin at `starts`; 0 outside of them."""
    return tl.load(
        starts[:, None] + k[None, :] * column_stride,
        mask=there[:, None] & (k < d)[None, :],
        other=0.0,
    )


@triton.jit
def _products(
    own: tl.tensor,
    there: tl.tensor,
    others: tl.tensor,
    others_there: tl.tensor,
    d: tl.tensor,
    column_stride: tl.tensor,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> tl.tensor:
    """c_ij = e_i . e_j of two blocks of rows."""
    c = tl.zeros((BLOCK_N, BLOCK_N), tl.float32)
    for first in range(0, d, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        a = _load(own, there, k, d, column_stride)
        b = _load(others, others_there, k, d, column_stride)
        c = tl.dot(a, tl.trans(b), c, input_precision="ieee")
    return c


@triton.jit
def _squares(
    own: tl.tensor,
    there: tl.tensor,
    d: tl.tensor,
    column_stride: tl.tensor,
    NORMS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> tl.tensor:
    """|e_i|^2, which only bounded norms need."""
    squares = tl.zeros((BLOCK_N,), tl.float32)
    if NORMS == "bounded":
        for first in range(0, d, BLOCK_K):
            a = _load(own, there, first + tl.arange(0, BLOCK_K), d, column_stride)
            squares += tl.sum(a * a, 1)
    return squares


@triton.jit
def _differences(
    own: tl.tensor,
    there: tl.tensor,
    others: tl.tensor,
    others_there: tl.tensor,
    d: tl.tensor,
    column_stride: tl.tensor,
    BLOCK_N: tl.constexpr,
) -> tl.tensor:
    """|e_i - e_j|^2 of two blocks of rows, from the differences of their numbers."""
    distance = tl.zeros((BLOCK_N, BLOCK_N), tl.float32)
    for k in range(d):
        a = tl.load(own + k * column_stride, mask=there, other=0.0)
        b = tl.load(others + k * column_stride, mask=others_there, other=0.0)
        difference = a[:, None] - b[None, :]
        distance += difference * difference
    return distance


# The losses of a pair, as in `simo_cl.losses.pair_losses`: the loss, dl/dc and dl/dd.


@triton.jit
def _pairwise(
    c: tl.tensor,
    d: tl.tensor,
    y: tl.tensor,
    epsilon: tl.tensor,
    RECTIFIED: tl.constexpr,
    SIMILAR: tl.constexpr,
    DISSIMILAR: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    loss = tl.zeros_like(c)
    by_product = tl.zeros_like(c)
    by_distance = tl.zeros_like(c)
    if SIMILAR:
        r = tl.maximum(c, 0.0) if RECTIFIED else c
        p = 1 / (epsilon + r * r)
        loss += y * d * p
        by_product -= 2 * y * r * d * p * p
        by_distance += y * p
    if DISSIMILAR:
        h = c / (epsilon + d)
        loss += (1 - y) * c * h
        by_product += 2 * (1 - y) * h
        by_distance -= (1 - y) * h * h
    return loss, by_product, by_distance


@triton.jit
def _kernel(
    c: tl.tensor,
    d: tl.tensor,
    y: tl.tensor,
    epsilon: tl.tensor,
    bias: tl.tensor,
    SIMILAR: tl.constexpr,
    DISSIMILAR: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    t = (c + bias) / (epsilon + d)
    base = 1 + (c + bias) * t
    power = 1 - 2 * y
    if SIMILAR and DISSIMILAR:
        loss = tl.exp(power * tl.log(base))
    elif SIMILAR:
        loss = 1 / base
    else:
        loss = base
    outer = power * loss / base
    return loss, 2 * outer * t, -outer * t * t


@triton.jit
def _distance(
    d: tl.tensor, y: tl.tensor, epsilon: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    inverse = 1 / (epsilon + d)
    return y * d + (1 - y) * inverse, tl.zeros_like(d), y - (1 - y) * inverse * inverse


@triton.jit
def _orthogonality(
    c: tl.tensor, y: tl.tensor, epsilon: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    square = c * c
    inverse = 1 / (epsilon + square)
    by_product = 2 * c * (1 - y - y * inverse * inverse)
    return y * inverse + (1 - y) * square, by_product, tl.zeros_like(c)


# Whether Triton's interpreter, which also takes tensors of the CPU, runs the kernel.
INTERPRETED = not isinstance(_sweep_rows, triton.JITFunction)
