"""The losses of a pair, with what their gradients need: the mathematics of the pairwise forms.

A loss l is a function of a pair's dot product c = e_i . e_j and of its squared distance d. Its
gradient by e_i is ``(dl/dc - 2 dl/dd) e_j + 2 dl/dd e_i``; unit norm discards the part along e_i.
A further form is one function more in `LOSSES`, and one in `pairwise_triton` for that backend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

SMALL_EPSILON = 1e-3  # above it no rounding of a cosine matters beside epsilon


class PairLoss(NamedTuple):
    """What a pair costs: the form, and the label `y` from 0 (dissimilar) to 1 (similar)."""

    form: str
    y: float
    epsilon: float
    bias: float = 0.0

    def of(self, pairs: Pairs, c: Tensor, d: Tensor | None) -> Part:
        """The loss of a block of pairs; c and d may be overwritten.

        c, d: (groups, i, j), dot products and squared distances; d is None for rows of unit norm,
            where it is 2 - 2c.
        """
        return LOSSES[self.form](pairs, c, d, self)


class Pairs(Protocol):
    """Which entries of a block (groups, i, j) are pairs."""

    def only(self, x: Tensor) -> Tensor:
        """`x` with the entries that are no pairs set to zero, in place."""

    def sums(self, x: Tensor) -> Tensor:
        """For each row j, the sum of `x` over its pairs."""


class Part(NamedTuple):
    """Sum of a loss over a block, and what its gradient needs.

    The sum is ``loss_factor * loss``, its gradient
    ``factor * (sum_j slope_ij e_j - own_i e_i)``, without `own` where rows have unit norm.
    """

    loss: Tensor
    loss_factor: float
    slope: Tensor
    factor: float
    own: Tensor | None = None


def _pairwise(
    pairs: Pairs, c: Tensor, d: Tensor | None, loss: PairLoss, rectified: bool = False
) -> Part:
    """``y * d/(eps + r^2) + (1 - y) * c^2/(eps + d)``: r is c or, if rectified, max(c, 0)."""
    y, epsilon = loss.y, loss.epsilon
    if y == 0:
        return _dissimilar(pairs, c, d, epsilon)
    similar = _similar(pairs, c, c.clamp_min(0) if rectified else c, d, epsilon)
    if y == 1:
        return similar
    dissimilar = _dissimilar(pairs, c, d, epsilon)
    by_similar, by_dissimilar = y * similar.factor, (1 - y) * dissimilar.factor
    return Part(
        loss=similar.loss * (y * similar.loss_factor)
        + dissimilar.loss * ((1 - y) * dissimilar.loss_factor),
        loss_factor=1.0,
        slope=similar.slope.mul_(by_similar).add_(dissimilar.slope, alpha=by_dissimilar),
        factor=1.0,
        own=None
        if similar.own is None or dissimilar.own is None
        else similar.own * by_similar + dissimilar.own * by_dissimilar,
    )


def _similar(pairs: Pairs, c: Tensor, r: Tensor, d: Tensor | None, epsilon: float) -> Part:
    """``d p`` with p = 1/(eps + r^2); its slope is -2 times p + p^2 r d.

    On unit rows d = 2 - 2c. The passes over a block are few and in place: they are the cost beside
    the matrix products.
    """
    p = pairs.only(torch.addcmul(c.new_full((), epsilon), r, r).reciprocal_())
    if d is None:
        half = torch.addcmul(p, p, c, value=-1)  # of the loss
        loss = half.sum()
        return Part(loss, 2.0, p.addcmul_(p, half.mul_(r), value=2), -2.0)
    each = p * d
    loss, own = each.sum(), pairs.sums(p)
    return Part(loss, 1.0, p.addcmul_(p, each.mul_(r)), -2.0, own)


def _dissimilar(pairs: Pairs, c: Tensor, d: Tensor | None, epsilon: float) -> Part:
    """``c h`` with h = c/(eps + d); its slope is 2 times h + h^2.

    On unit rows d = 2 - 2c; h is taken twice as large there.
    """
    if d is None:
        gap = _above_zero(torch.rsub(c, 1 + epsilon / 2), epsilon)
        h = pairs.only(torch.div(c, gap, out=gap))
        loss = torch.dot(c.flatten(), h.flatten())
        return Part(loss, 0.5, h.addcmul_(h, h, value=0.5), 1.0)
    h = pairs.only(torch.div(c, d.add_(epsilon), out=d))
    loss, square = torch.dot(c.flatten(), h.flatten()), h * h
    return Part(loss, 1.0, h.add_(square), 2.0, pairs.sums(square))


def _kernel(pairs: Pairs, c: Tensor, d: Tensor | None, loss: PairLoss) -> Part:
    """``(1 + k)^p`` with k = (c + bias)^2/(eps + d) and p = 1 - 2y.

    With t = (c + bias)/(eps + d) its slope is 2p times (t + t^2) (1 + k)^(p - 1).
    """
    power, epsilon = 1 - 2 * loss.y, loss.epsilon
    if d is None:
        gap = _above_zero(torch.rsub(c, 2 + epsilon, alpha=2), epsilon)
    else:
        gap = d.add_(epsilon)
    shifted = c.add_(loss.bias) if loss.bias else c
    t = pairs.only(torch.div(shifted, gap, out=gap))
    base = torch.addcmul(c.new_ones(()), shifted, t)
    each = pairs.only(base if power == 1 else base.pow(power))
    total = each.sum()
    # Without leaning the weight of a dissimilar pair is 1, which spares two passes.
    weight = None if power == 1 else torch.div(each, base, out=base)
    own = None
    if d is not None:
        own = pairs.sums(t * t if weight is None else t * t * weight)
    slope = t.addcmul_(t, t)
    return Part(total, 1.0, slope if weight is None else slope.mul_(weight), 2 * power, own)


def _distance(pairs: Pairs, c: Tensor, d: Tensor | None, loss: PairLoss) -> Part:
    """``y * d + (1 - y)/(eps + d)``; its slope is -2 times y - (1 - y)/(eps + d)^2."""
    y, unit = loss.y, d is None
    if d is None:
        d = torch.rsub(c, 2, alpha=2).clamp_min_(0)
    inverse = 1 / (loss.epsilon + d)
    each = pairs.only(y * d + (1 - y) * inverse)
    slope = pairs.only(y - (1 - y) * inverse.square_())
    return Part(each.sum(), 1.0, slope, -2.0, None if unit else pairs.sums(slope))


def _orthogonality(pairs: Pairs, c: Tensor, d: Tensor | None, loss: PairLoss) -> Part:
    """``y/(eps + c^2) + (1 - y) * c^2``; its slope is 2 times c (1 - y - y/(eps + c^2)^2)."""
    y, square = loss.y, c * c
    inverse = 1 / (loss.epsilon + square)
    each = pairs.only(y * inverse + (1 - y) * square)
    return Part(each.sum(), 1.0, pairs.only((1 - y - y * inverse.square_()) * c), 2.0)


def _above_zero(gap: Tensor, epsilon: float) -> Tensor:
    """A multiple of eps + 2 - 2c, in place: rounding may put a cosine above 1."""
    return gap.clamp_min_(epsilon / 4) if epsilon < SMALL_EPSILON else gap


LOSSES: dict[str, Callable[[Pairs, Tensor, Tensor | None, PairLoss], Part]] = {
    "pairwise": _pairwise,
    "rectified": partial(_pairwise, rectified=True),
    "kernel": _kernel,
    "distance": _distance,
    "orthogonality": _orthogonality,
}
