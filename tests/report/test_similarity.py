from __future__ import annotations

import numpy as np
import torch

from simo_cl.metrics import geometry
from simo_cl.report.similarity import simo_similarity


def test_it_is_the_similarity_of_the_geometry_metrics():
    points = np.random.default_rng(0).normal(size=(12, 5))
    points[3] = 0

    expected = geometry.simo_similarity(torch.tensor(points), epsilon=0.2).numpy()

    np.testing.assert_allclose(simo_similarity(points, epsilon=0.2), expected, atol=1e-12)


def test_one_direction_has_1_and_orthogonal_ones_0():
    assert simo_similarity(np.array([[1, 0], [3, 0], [0, 2]])).round(12).tolist() == [
        [1, 1, 0],
        [1, 1, 0],
        [0, 0, 1],
    ]
