"""Golden values: whoever moves a loss learns that old runs must not stand beside new.

In float64, whose last digits alone differ between processors.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from simo_cl.losses import simo_loss
from simo_cl.losses.asymmetric_metric import asymmetric_metric_loss
from simo_cl.losses.asymmetric_supcon import asymmetric_supcon
from simo_cl.losses.fixed_directions import Directions, cosine_loss, fixed_directions
from simo_cl.losses.orthogonal_projection import orthogonal_projection_loss
from simo_cl.losses.relation_distillation import relation_distillation


def rows(first: int) -> Tensor:
    """(9, 5), without a pattern that a loss would see."""
    return torch.arange(first, first + 45, dtype=torch.float64).square().sin().view(9, 5)


LABELS = torch.tensor([4, 5, 4, 5, 4, 0, 1, 0, 5])
CLASSES = LABELS.clamp(2, 5) - 2


def to_directions(kind: Directions) -> Callable[[Tensor], Tensor]:
    return lambda x: cosine_loss(x, CLASSES, fixed_directions(kind, 4, 5, seed=0))


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "pairwise": (lambda x: simo_loss(x, LABELS), 9.5380013, 6.739232),
    "pairwise, summed, leaning": (
        lambda x: simo_loss(x, LABELS, reduction="sum", leaning=0.1),
        83.690086,
        48.433246,
    ),
    "pairwise, any norm": (
        lambda x: simo_loss(x, LABELS, normalize=False, epsilon=1),
        3.765082,
        2.3735418,
    ),
    "pairwise, unit means": (
        lambda x: simo_loss(x, LABELS, normalize_means=True),
        9.6166497,
        6.7425072,
    ),
    "rectified": (lambda x: simo_loss(x, LABELS, form="rectified"), 14.337063, 7.6327642),
    "kernel": (lambda x: simo_loss(x, LABELS, form="kernel"), 3.5467193, 1.4167433),
    "kernel, summed, biased": (
        lambda x: simo_loss(x, LABELS, form="kernel", reduction="sum", bias=0.2),
        31.251712,
        20.065294,
    ),
    "batch": (lambda x: simo_loss(x, LABELS, form="batch"), 9.251533, 9.5983899),
    "batch, summed, weighted": (
        lambda x: simo_loss(x, LABELS, form="batch", reduction="sum", weights=(1, 2, 3)),
        11.384634,
        11.908638,
    ),
    "distance alone": (lambda x: simo_loss(x, LABELS, form="distance"), 3.7038045, 1.802003),
    "orthogonality alone": (
        lambda x: simo_loss(x, LABELS, form="orthogonality"),
        4.9308581,
        3.5947031,
    ),
    "asymmetric SupCon": (lambda x: asymmetric_supcon(x, LABELS, LABELS > 3), 3.0627134, 2.2406058),
    "relation distillation": (lambda x: relation_distillation(x, rows(100)), 2.2317706, 1.2546295),
    "asymmetric metric": (lambda x: asymmetric_metric_loss(x, LABELS, 5), 2.6192735, 2.1180494),
    "orthogonal projection, absolute": (
        lambda x: orthogonal_projection_loss(x, LABELS),
        1.0476014,
        0.34630619,
    ),
    "orthogonal projection, absolute mean": (
        lambda x: orthogonal_projection_loss(x, LABELS, dissimilar="absolute_mean"),
        0.90688157,
        0.32406028,
    ),
    "orthogonal projection, signed": (
        lambda x: orthogonal_projection_loss(x, LABELS, dissimilar="signed"),
        0.85492617,
        0.35469108,
    ),
    "orthonormal directions": (to_directions("orthonormal"), 1.1853017, 0.19577705),
    "simplex directions": (to_directions("simplex"), 1.1797903, 0.19550513),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_move_with_numerics_alone(name: str) -> None:
    loss, value, gradient_norm = LOSSES[name]
    x = rows(1).requires_grad_()
    found = loss(x)
    (gradient,) = torch.autograd.grad(found, x)
    assert (found.item(), gradient.norm().item()) == pytest.approx(
        (value, gradient_norm), rel=1e-5
    ), (
        "The loss is not what it was. If it was not to move, something moved it. If it was, runs "
        "from before and after must not share a mean: raise NUMERICS in "
        "simo_cl/harness/settings.py and write the new values here"
    )
