"""Losses that compare pairs do so in float32, also where the model trains in half precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from simo_cl.losses import simo_loss
from simo_cl.losses.asymmetric_metric import asymmetric_metric_loss
from simo_cl.losses.asymmetric_supcon import asymmetric_supcon
from simo_cl.losses.fixed_directions import cosine_loss, fixed_directions
from simo_cl.losses.orthogonal_projection import orthogonal_projection_loss
from simo_cl.losses.relation_distillation import relation_distillation

LABELS = torch.arange(12) % 4
PAST = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
DIRECTIONS = fixed_directions("simplex", 4, 8, seed=0)

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "simo": lambda x: simo_loss(x, LABELS),
    "simo batch": lambda x: simo_loss(x, LABELS, form="batch"),
    "simo distance": lambda x: simo_loss(x, LABELS, form="distance"),
    "simo orthogonality": lambda x: simo_loss(x, LABELS, form="orthogonality"),
    "asymmetric supcon": lambda x: asymmetric_supcon(x, LABELS, LABELS > 1, temperature=0.1),
    "asymmetric metric": lambda x: asymmetric_metric_loss(x, LABELS, 6),
    "relation distillation": lambda x: relation_distillation(x, PAST),
    "orthogonal projection": lambda x: orthogonal_projection_loss(x, LABELS),
    "fixed directions": lambda x: cosine_loss(x, LABELS, DIRECTIONS),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_under_autocast_value_and_gradient_are_those_without(
    loss: Callable[[Tensor], Tensor],
) -> None:
    found = []
    for enabled in (False, True):
        x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(x)
        found.append((value, *torch.autograd.grad(value, x)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-6)
