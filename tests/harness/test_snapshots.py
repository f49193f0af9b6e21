from __future__ import annotations

import numpy as np
import pytest
import torch

from simo_cl.harness.embed import Embedded
from simo_cl.harness.snapshots import Snapshots


def recorded(num_classes: int, samples_per_class: int) -> Embedded:
    labels = torch.arange(num_classes).repeat(samples_per_class)
    return Embedded({"features": torch.arange(2.0 * len(labels)).reshape(-1, 2)}, labels)


@pytest.mark.parametrize(
    ("num_classes", "samples_per_class", "kept"), [(10, 100, 20), (10, 4, 4), (400, 5, 1)]
)
def test_the_images_are_bounded_and_of_every_class(
    num_classes: int, samples_per_class: int, kept: int
) -> None:
    snapshots = Snapshots(num_classes, samples_per_class)
    for _ in range(3):
        snapshots.add(recorded(num_classes, 50))

    arrays = snapshots.arrays()

    assert arrays["features"].shape == (3, kept * num_classes, 2)
    assert arrays["labels"].tolist() == sorted([*range(num_classes)] * kept)


def test_the_first_images_of_a_class_are_kept() -> None:
    snapshots = Snapshots(2, 3)
    snapshots.add(recorded(2, 10))

    assert snapshots.arrays()["features"][0, :3, 0].tolist() == [0, 4, 8]


def test_snapshots_of_different_sizes_are_kept_together() -> None:
    snapshots = Snapshots(2, 3)
    ordinary = recorded(2, 10)
    huge = Embedded({"features": ordinary.spaces["features"] * 1e6}, ordinary.labels)
    snapshots.add(ordinary)
    snapshots.add(huge)

    features = snapshots.arrays()["features"]

    assert np.isfinite(features).all()
    assert features[1].tolist() == (features[0] * 1e6).tolist()
