from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simo_cl.losses.fixed_directions import Directions, cosine_loss, fixed_directions


@pytest.mark.parametrize(
    ("kind", "num_classes", "dimension", "cosine"),
    [
        ("orthonormal", 2, 2, 0.0),
        ("orthonormal", 10, 10, 0.0),
        ("orthonormal", 10, 128, 0.0),
        ("simplex", 2, 1, -1.0),
        ("simplex", 10, 9, -1 / 9),
        ("simplex", 10, 10, -1 / 9),
        ("simplex", 100, 128, -1 / 99),
    ],
)
def test_all_pairs_are_at_the_same_angle(
    kind: Directions, num_classes: int, dimension: int, cosine: float
) -> None:
    directions = fixed_directions(kind, num_classes, dimension, seed=3)
    assert directions.shape == (num_classes, dimension)
    expected = torch.full((num_classes, num_classes), cosine).fill_diagonal_(1.0)
    torch.testing.assert_close(directions @ directions.T, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["orthonormal", "simplex"])
def test_the_seed_decides_how_they_are_turned(kind: Directions) -> None:
    once, again, other = (fixed_directions(kind, 4, 6, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert (once - other).abs().max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corners", 3, 4), r"directions is 'corners'; it must be one of \('orthonormal', 'simp"),
        (("simplex", 1, 4), "there are 1 classes; directions are for 2 or more"),
        (("orthonormal", 10, 9), "dimension is 9, but orthonormal .* need at least 10; raise"),
        (("simplex", 10, 8), "dimension is 8, but simplex .* need at least 9; raise"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_directions(*arguments, seed=0)


def test_the_loss_is_one_minus_the_cosine_sample_by_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = 5 * torch.randn(7, 4, generator=generator)
    directions = fixed_directions("simplex", 5, 4, seed=0)
    labels = torch.tensor([4, 0, 0, 2, 1, 3, 4])
    losses = []
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        direction = directions[label].tolist()
        product = sum(a * b for a, b in zip(embedding, direction, strict=True))
        losses.append(1 - product / math.sqrt(sum(a * a for a in embedding)))
    assert cosine_loss(embeddings, labels, directions).item() == pytest.approx(
        sum(losses) / 7, rel=1e-5
    )


def test_the_loss_is_zero_at_the_directions_and_two_opposite_to_them() -> None:
    directions = fixed_directions("orthonormal", 3, 5, seed=0)
    labels = torch.tensor([2, 0, 1])
    assert cosine_loss(9 * directions[labels], labels, directions).item() == pytest.approx(0)
    assert cosine_loss(-directions[labels], labels, directions).item() == pytest.approx(2)


def test_the_loss_of_double_precision_is_as_precise() -> None:
    embeddings = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    directions, labels = torch.eye(3, dtype=torch.float64), torch.tensor([0, 2, 1, 0])
    assert torch.autograd.gradcheck(lambda e: cosine_loss(e, labels, directions), embeddings)


def test_no_embedding_has_an_infinite_gradient() -> None:
    embeddings = torch.zeros(2, 3, requires_grad=True)
    directions = fixed_directions("orthonormal", 3, 3, seed=0)
    cosine_loss(embeddings, torch.tensor([0, 1]), directions).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
