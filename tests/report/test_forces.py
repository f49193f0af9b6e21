from __future__ import annotations

import numpy as np
import pytest
import torch

from simo_cl.losses import simo_loss
from simo_cl.report.figures.forces import journey


@pytest.fixture
def start() -> np.ndarray:
    points = np.ones((3, 3)) + 0.4 * np.random.default_rng(0).normal(size=(3, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_a_force_is_the_negative_gradient(start):
    force, _ = journey(start, similar=False, epsilon=0.1)

    def loss(points: np.ndarray) -> float:
        return float(
            simo_loss(torch.tensor(points), torch.arange(3), epsilon=0.1, weights=(0, 0, 1))
        )

    for at in np.ndindex(start.shape):
        step = np.zeros_like(start)
        step[at] = 1e-6
        slope = (loss(start + step) - loss(start - step)) / 2e-6
        assert force[at] == pytest.approx(-slope, rel=1e-6, abs=1e-8)


def test_dissimilar_points_end_at_right_angles(start):
    _, path = journey(start, similar=False, epsilon=0.1)

    np.testing.assert_allclose(path[0], start, atol=1e-12)
    np.testing.assert_allclose(path[-1] @ path[-1].T, np.eye(3), atol=1e-3)


def test_similar_points_end_in_one_place(start):
    _, path = journey(start, similar=True, epsilon=0.1)

    np.testing.assert_allclose(path[-1] @ path[-1].T, 1, atol=1e-3)


def test_a_path_is_fine_enough_to_draw_and_stays_on_the_sphere(start):
    _, path = journey(start, similar=False, epsilon=1 / 137)

    assert np.linalg.norm(np.diff(path, axis=0), axis=2).max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(path, axis=2), 1)
