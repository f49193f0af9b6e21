from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simo_cl.losses.relation_distillation import relation_distillation


def cosine(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def relations(embeddings: Tensor, i: int, temperature: float) -> dict[int, float]:
    """Equation 5 of the paper: of sample i to each other one."""
    rows = embeddings.tolist()
    others = [j for j in range(len(rows)) if j != i]
    exponentials = {j: math.exp(cosine(rows[i], rows[j]) / temperature) for j in others}
    total = sum(exponentials.values())
    return {j: value / total for j, value in exponentials.items()}


def by_hand(now: Tensor, past: Tensor, temperature: float, past_temperature: float) -> float:
    """Equation 6, averaged over the samples."""
    loss = 0.0
    for i in range(len(now)):
        p, q = relations(now, i, temperature), relations(past, i, past_temperature)
        loss -= sum(q[j] * math.log(p[j]) for j in p)
    return loss / len(now)


def random(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns", "past_columns"), [(2, 3, 3), (5, 4, 4), (9, 3, 6)])
@pytest.mark.parametrize("temperatures", [(0.2, 0.01), (0.5, 0.5)])
def test_equals_the_papers_definition(
    rows: int, columns: int, past_columns: int, temperatures: tuple[float, float]
) -> None:
    now, past = random(rows, columns, 0), random(rows, past_columns, 1)
    found = relation_distillation(
        now, past, temperature=temperatures[0], past_temperature=temperatures[1]
    )
    assert found.item() == pytest.approx(by_hand(now, past, *temperatures), rel=1e-4)


def test_it_is_least_where_relations_are_what_they_were() -> None:
    """There it is the entropy of the past relations, and its gradient is zero."""
    past = random(7, 4, 2).float()
    now = (2 * past).requires_grad_()
    loss = relation_distillation(now, past, temperature=0.3, past_temperature=0.3)
    rows = [relations(past, i, 0.3).values() for i in range(7)]
    entropy = -sum(q * math.log(q) for row in rows for q in row) / 7
    assert loss.item() == pytest.approx(entropy, rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, now)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_the_gradient_is_right_and_none_goes_into_the_past() -> None:
    now, past = random(5, 3, 3).float().requires_grad_(), random(5, 3, 4).float().requires_grad_()
    relation_distillation(now, past).backward()
    assert past.grad is None
    assert now.grad is not None
    step = 1e-2 * random(5, 3, 5).float()
    with torch.no_grad():
        ahead, behind = (relation_distillation(now + s * step, past) for s in (1, -1))
    assert (ahead - behind).item() / 2 == pytest.approx((now.grad * step).sum().item(), rel=2e-2)


def test_runs_without_a_device() -> None:
    now = torch.randn(6, 4, device="meta", requires_grad=True)
    relation_distillation(now, torch.randn(6, 4, device="meta")).backward()
    assert now.grad is not None


@pytest.mark.parametrize(("now", "past"), [(1, 1), (3, 2)])
def test_too_few_samples_are_refused(now: int, past: int) -> None:
    with pytest.raises(ValueError, match=f"there are {now} embeddings and {past} past ones; rel"):
        relation_distillation(torch.randn(now, 4), torch.randn(past, 4))


@pytest.mark.parametrize("name", ["temperature", "past_temperature"])
def test_a_temperature_that_is_not_positive_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is 0; it must be positive"):
        relation_distillation(torch.eye(3), torch.eye(3), **{name: 0})
