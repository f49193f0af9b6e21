from __future__ import annotations

import numpy as np
import pytest
import torch

from simo_cl import SimOLoss
from simo_cl.report.forces import descend, group_gradient


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("label", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (9, 4)])
def test_the_gradient_is_the_loss_s(shape, label, normalize):
    points = torch.tensor(
        np.random.default_rng(len(shape)).normal(size=shape), dtype=torch.float64
    ).requires_grad_()
    similar = label == 1.0
    loss = SimOLoss(
        epsilon=0.1,
        leaning=0.0 if similar else label,
        normalize=normalize,
        weights=(1, 0, 0) if similar else (0, 0, 1),
    )
    classes = torch.zeros(len(points), dtype=torch.long) if similar else torch.arange(len(points))
    loss(points, classes).backward()

    computed = group_gradient(points.detach().numpy(), label, 0.1, normalize=normalize)

    np.testing.assert_allclose(computed, points.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.fixture
def start() -> np.ndarray:
    points = np.ones((3, 3)) + 0.4 * np.random.default_rng(0).normal(size=(3, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_dissimilar_points_end_at_right_angles(start):
    path = descend(start, 0.0, 0.1)

    assert path.shape == (2001, 3, 3)
    np.testing.assert_array_equal(path[0], start)
    np.testing.assert_allclose(path[-1] @ path[-1].T, np.eye(3), atol=1e-3)


def test_similar_points_end_in_one_place(start):
    end = descend(start, 1.0, 0.1)[-1]

    np.testing.assert_allclose(end @ end.T, 1, atol=1e-3)


def test_no_point_strides_farther_than_allowed(start):
    path = descend(start, 0.0, 1 / 137, steps=50, stride=0.02)

    assert np.linalg.norm(np.diff(path, axis=0), axis=2).max() <= 0.02
