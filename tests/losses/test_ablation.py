from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from simo_cl.losses.ablation import Part, SimOPart

EPSILON = 0.3


def by_hand(e: Tensor, labels: Tensor, part: Part) -> float:
    """Pair by pair, group by group."""

    def pair_loss(a: Tensor, b: Tensor, similar: bool) -> float:
        d, o = float((a - b).square().sum()), float(a @ b) ** 2
        if part == "distance":
            return d if similar else 1 / (EPSILON + d)
        return 1 / (EPSILON + o) if similar else o

    def term(groups: list[list[Tensor]], similar: bool) -> float:
        losses = [pair_loss(a, b, similar) for g in groups for a, b in itertools.combinations(g, 2)]
        return sum(losses) / max(1, len(losses))

    classes = [list(e[labels == c]) for c in labels.unique()]
    longest = max(map(len, classes))
    return (
        term(classes, similar=True)
        + term([[torch.stack(c).mean(0) for c in classes]], similar=False)
        + term([[c[k] for c in classes if k < len(c)] for k in range(longest)], similar=False)
    )


@pytest.mark.parametrize("part", ["distance", "orthogonality"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [4, 4, 7, 4, 1, 7, 4], [3, 3], [5]])
def test_equals_a_loop_over_pairs(part: Part, normalize: bool, labels: list[int]) -> None:
    torch.manual_seed(0)
    e, y = torch.randn(len(labels), 5), torch.tensor(labels)
    loss = SimOPart(part, epsilon=EPSILON, normalize=normalize)(e, y)
    if normalize:
        e = torch.nn.functional.normalize(e, dim=1)
    assert loss.item() == pytest.approx(by_hand(e, y, part), rel=1e-5)


def test_distance_alone_cannot_tell_orthogonal_classes_from_opposite_ones() -> None:
    """It prefers two classes to be opposite, where the orthogonality part wants them orthogonal."""
    labels = torch.tensor([0, 0, 1, 1])
    opposite = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    orthogonal = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert SimOPart("distance")(opposite, labels) < SimOPart("distance")(orthogonal, labels)
    part = SimOPart("orthogonality")
    assert part(orthogonal, labels) < part(opposite, labels)


@pytest.mark.parametrize("part", ["distance", "orthogonality"])
def test_has_a_finite_gradient_for_identical_rows(part: Part) -> None:
    e = torch.ones(6, 3, requires_grad=True)
    SimOPart(part)(e, torch.tensor([0, 0, 1, 1, 2, 2])).backward()
    assert e.grad is not None
    assert e.grad.isfinite().all()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"part is 'angle'; it must be one of \('distance', 'orth"):
        SimOPart("angle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epsilon is 0; it must be positive"):
        SimOPart("distance", epsilon=0)
