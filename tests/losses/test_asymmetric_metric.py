from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simo_cl.losses.asymmetric_metric import asymmetric_metric_loss


def by_hand(features: Tensor, labels: list[int], new: int, temperature: float) -> float:
    """Anchor by anchor: the paper's loss, each similarity over the sum of its own anchor."""
    rows = features.tolist()

    def exponential(i: int, j: int) -> float:
        product = sum(x * y for x, y in zip(rows[i], rows[j], strict=True))
        lengths = math.sqrt(sum(x * x for x in rows[i]) * sum(y * y for y in rows[j]))
        return math.exp(product / lengths / temperature)

    losses = []
    for i in range(new):
        positives = [j for j in range(len(rows)) if j != i and labels[j] == labels[i]]
        negatives = [
            j for j in range(len(rows)) if labels[j] != labels[i] and labels[j] in labels[:new]
        ]
        if positives and negatives:
            total = sum(exponential(i, k) for k in positives + negatives)
            shares = [exponential(i, p) / total for p in positives]
            losses.append(-sum(map(math.log, shares)) / len(shares))
    return sum(losses) / max(1, len(losses))


@pytest.mark.parametrize(
    ("labels", "new"),
    [
        pytest.param([4, 5, 4, 5, 5, 0, 1, 4, 0, 5], 5, id="some of the new classes in the memory"),
        pytest.param([4, 5, 4, 5, 0, 1, 2], 4, id="none of them"),
        pytest.param([4, 5, 4, 0, 0], 3, id="one alone in its class"),
        pytest.param([4, 4, 4, 0, 4], 3, id="one new class, and no negative"),
        pytest.param([4, 5, 0, 1], 2, id="no positive"),
        pytest.param([4, 0], 1, id="nothing to compare with"),
    ],
)
def test_equals_a_loop_over_anchors(labels: list[int], new: int) -> None:
    generator = torch.Generator().manual_seed(len(labels))
    features = (2 * torch.randn(len(labels), 4, generator=generator)).requires_grad_()
    found = asymmetric_metric_loss(features, torch.tensor(labels), new, temperature=0.3)
    assert found.item() == pytest.approx(by_hand(features.detach(), labels, new, 0.3), abs=1e-5)
    (gradient,) = torch.autograd.grad(found, features)
    assert gradient.isfinite().all()
    older = [i for i, label in enumerate(labels) if label not in labels[:new]]
    assert not gradient[older].any()


def test_runs_without_a_device() -> None:
    features = torch.randn(6, 4, device="meta", requires_grad=True)
    asymmetric_metric_loss(features, torch.arange(6, device="meta") % 3, 4).backward()
    assert features.grad is not None


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature is {temperature}; it must be positive"):
        asymmetric_metric_loss(torch.eye(2), torch.zeros(2), 1, temperature=temperature)
