from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simo_cl.losses.asymmetric_supcon import asymmetric_supcon


def by_hand(embeddings: Tensor, labels: list[int], anchors: list[int], temperature: float) -> float:
    """Equation 3 of the paper, divided by the number of samples."""
    norms = [math.sqrt(sum(x * x for x in row)) for row in embeddings.tolist()]
    z = [[x / n for x in row] for row, n in zip(embeddings.tolist(), norms, strict=True)]

    def exponential(i: int, j: int) -> float:
        return math.exp(sum(x * y for x, y in zip(z[i], z[j], strict=True)) / temperature)

    total = 0.0
    for i in anchors:
        others = [j for j in range(len(z)) if j != i]
        denominator = sum(exponential(i, k) for k in others)
        positives = [j for j in others if labels[j] == labels[i]]
        logs = [math.log(exponential(i, j) / denominator) for j in positives]
        total -= sum(logs) / max(1, len(logs))
    return total / len(z)


@pytest.mark.parametrize(
    ("labels", "anchors"),
    [
        pytest.param([4, 5, 4, 5, 0, 1, 0, 1], [0, 1, 2, 3], id="new classes first"),
        pytest.param([4, 0, 4, 1, 0, 1], [0, 2], id="scattered"),
        pytest.param([0, 1, 0, 1], [0, 1, 2, 3], id="all"),
        pytest.param([4, 4, 5, 0, 0], [0, 1, 2], id="an anchor alone in its class"),
        pytest.param([0, 0, 1, 1], [], id="none"),
    ],
)
def test_equals_the_papers_definition(labels: list[int], anchors: list[int]) -> None:
    generator = torch.Generator().manual_seed(len(labels))
    embeddings = 2 * torch.randn(len(labels), 5, generator=generator)
    is_anchor = torch.zeros(len(labels), dtype=torch.bool)
    is_anchor[anchors] = True
    found = asymmetric_supcon(embeddings, torch.tensor(labels), is_anchor, temperature=0.3)
    assert found.item() == pytest.approx(by_hand(embeddings, labels, anchors, 0.3), abs=1e-5)


def test_memory_samples_are_pushed_from_anchors_and_not_pulled_together() -> None:
    """Their gradients come from the anchors' denominators alone."""
    embeddings = torch.eye(4).add(0.1).requires_grad_()
    labels = torch.tensor([4, 4, 0, 0])
    asymmetric_supcon(embeddings, labels, labels == 4).backward()
    assert embeddings.grad is not None
    towards_each_other = -embeddings.grad[2] @ embeddings[3].detach()
    assert towards_each_other <= 0
    assert -embeddings.grad[2] @ embeddings[0].detach() < 0


def test_runs_without_a_device() -> None:
    embeddings = torch.randn(6, 4, device="meta", requires_grad=True)
    labels = torch.arange(6, device="meta") % 2
    asymmetric_supcon(embeddings, labels, labels == 1).backward()
    assert embeddings.grad is not None


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature is {temperature}; it must be positive"):
        asymmetric_supcon(
            torch.eye(2), torch.zeros(2), torch.ones(2).bool(), temperature=temperature
        )
