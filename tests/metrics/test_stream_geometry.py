from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simo_cl.metrics.geometry import centred, geometry_metrics, simo_similarity
from simo_cl.metrics.stream_geometry import StreamGeometry

DRIFT = "drift/class_mean"


def along(*angles: float | None) -> tuple[Tensor, Tensor]:
    """Two samples a class at these angles in degrees; None has no sample."""
    there = [(c, math.radians(angle)) for c, angle in enumerate(angles) if angle is not None]
    points = torch.tensor([[math.cos(angle), math.sin(angle)] for _, angle in there])
    labels = torch.tensor([c for c, _ in there])
    return points.repeat(2, 1), labels.repeat(2)


def drift_of(geometry: StreamGeometry, *angles: float | None, current: list[int]) -> float | None:
    points, labels = along(*angles)
    found = geometry.measure("a", points, labels, current=current, num_classes=len(angles))
    return found["a"].metrics.get(DRIFT)


def moved(*degrees: float) -> float:
    return pytest.approx(
        sum(1 - math.cos(math.radians(d)) for d in degrees) / len(degrees), abs=1e-6
    )


def test_old_classes_drift_from_where_they_lay_when_they_were_learnt() -> None:
    geometry = StreamGeometry()
    assert drift_of(geometry, 0, 90, current=[0, 1]) is None
    assert drift_of(geometry, 10, 120, 180, current=[2]) == moved(10, 30)
    assert drift_of(geometry, 0, 90, 200, 300, current=[3]) == moved(0, 0, 20)


def test_a_class_that_comes_back_drifts_from_where_it_was_learnt_last() -> None:
    geometry = StreamGeometry()
    drift_of(geometry, 0, 90, current=[0, 1])
    assert drift_of(geometry, 40, 90, current=[0]) == moved(0)
    assert drift_of(geometry, 50, 100, 0, current=[2]) == moved(10, 10)


def test_experiences_may_be_evaluated_in_calls_of_their_own() -> None:
    geometry = StreamGeometry()
    drift_of(geometry, 0, current=[0])
    assert drift_of(geometry, None, 90, current=[1]) is None
    assert drift_of(geometry, 30, None, current=[1]) == moved(30)
    assert drift_of(geometry, None, 110, 0, current=[2]) == moved(20)


def test_each_space_and_the_one_around_its_mean_have_a_past_of_their_own() -> None:
    geometry = StreamGeometry()
    points, labels = along(0, 90, 200)
    for _ in range(2):
        found = geometry.measure("a", points, labels, current=[0], num_classes=3)
    assert set(geometry.when_learnt) == set(found) == {"a", "a_centred"}
    geometry.measure("b", points.flip(1), labels, current=[1], num_classes=3)
    assert geometry.when_learnt["b"][0].isnan().all()
    assert torch.equal(found["a_centred"].points, centred(points))


def test_metrics_and_matrices_are_those_of_the_functions() -> None:
    geometry = StreamGeometry(epsilon=0.3)
    points = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 3] * 4)

    found = geometry.measure("a", points, labels, current=[0, 1, 3], num_classes=5)

    assert found["a"].metrics == geometry_metrics(points, labels, epsilon=0.3)
    around = geometry_metrics(centred(points), labels, epsilon=0.3)
    assert found["a_centred"].metrics == around
    absent = torch.tensor([2, 4])
    for matrix in (found["a"].class_mean_cos, found["a"].simo_similarity):
        assert matrix.shape == (5, 5)
        assert matrix[absent].isnan().all()
        assert matrix[:, absent].isnan().all()
    there = torch.tensor([0, 1, 3])
    means = geometry.when_learnt["a"][there]
    torch.testing.assert_close(found["a"].class_mean_cos[there][:, there], means @ means.T)
    torch.testing.assert_close(
        found["a"].simo_similarity[there][:, there], simo_similarity(means, 0.3)
    )


def test_a_class_without_a_direction_has_no_drift() -> None:
    geometry = StreamGeometry()
    points, labels = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
    for current in ([0, 1], [2]):
        found = geometry.measure("a", points, labels, current=current, num_classes=3)
    assert DRIFT not in found["a"].metrics
