from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from simo_cl.losses.orthogonal_projection import (
    Dissimilar,
    OrthogonalProjectionLoss,
    orthogonal_projection_loss,
)


def by_hand(features: Tensor, labels: list[int], gamma: float, dissimilar: Dissimilar) -> float:
    """Pair by pair."""
    same, other = [], []
    for (a, label_a), (b, label_b) in itertools.combinations(
        zip(features.tolist(), labels, strict=True), 2
    ):
        product = sum(x * y for x, y in zip(a, b, strict=True))
        cosine = product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
        if label_a == label_b:
            same.append(cosine)
        else:
            other.append(abs(cosine) if dissimilar == "absolute" else cosine)
    s = sum(same) / len(same) if same else 0.0
    d = sum(other) / len(other) if other else 0.0
    return 1 - s + gamma * (abs(d) if dissimilar == "absolute_mean" else d)


@pytest.mark.parametrize("dissimilar", ["absolute", "absolute_mean", "signed"])
@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [4, 4, 7, 4, 1], [3, 3], [1, 2], [5]])
def test_equals_a_loop_over_pairs(labels: list[int], dissimilar: Dissimilar) -> None:
    generator = torch.Generator().manual_seed(len(labels))
    features = 3 * torch.randn(len(labels), 5, generator=generator)
    loss = OrthogonalProjectionLoss(gamma=0.7, dissimilar=dissimilar)
    found = loss(features, torch.tensor(labels))
    assert found.item() == pytest.approx(by_hand(features, labels, 0.7, dissimilar), rel=1e-5)


def test_only_the_signed_form_prefers_opposite_classes_to_orthogonal_ones() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    opposite = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    orthogonal = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    values = {
        form: [
            orthogonal_projection_loss(x, labels, dissimilar=form).item()
            for x in (orthogonal, opposite)
        ]
        for form in ("absolute", "absolute_mean", "signed")
    }
    assert values == {"absolute": [0.0, 0.5], "absolute_mean": [0.0, 0.5], "signed": [0.0, -0.5]}


def test_only_the_papers_form_lets_opposite_classes_make_up_for_near_ones() -> None:
    angles = torch.tensor([0.0, 60.0, 180.0, 240.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.arange(4)
    values = {
        form: orthogonal_projection_loss(features, labels, gamma=1.0, dissimilar=form).item()
        for form in ("absolute", "absolute_mean", "signed")
    }
    expected = {"absolute": 1 + 2 / 3, "absolute_mean": 1 + 1 / 3, "signed": 1 - 1 / 3}
    assert values == pytest.approx(expected, rel=1e-5)


def test_runs_without_a_device() -> None:
    features = torch.randn(6, 4, device="meta", requires_grad=True)
    OrthogonalProjectionLoss()(features, torch.arange(6, device="meta") % 2).backward()
    assert features.grad is not None


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="gamma is -1; it must be 0 or more"):
        OrthogonalProjectionLoss(gamma=-1)
    with pytest.raises(ValueError, match=r"dissimilar is 'square'; it must be one of \('absolute'"):
        OrthogonalProjectionLoss(dissimilar="square")  # type: ignore[arg-type]


def test_bad_settings_of_the_function_are_refused() -> None:
    features, labels = torch.eye(2), torch.arange(2)
    with pytest.raises(ValueError, match="gamma is nan; it must be 0 or more"):
        orthogonal_projection_loss(features, labels, gamma=math.nan)
    with pytest.raises(ValueError, match=r"dissimilar is 'abs'; it must be one of \('absolute'"):
        orthogonal_projection_loss(features, labels, dissimilar="abs")  # type: ignore[arg-type]
