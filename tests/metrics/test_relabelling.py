"""What is measured does not depend on which number a class has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simo_cl.metrics.continual import class_accuracy, confusion_matrix
from simo_cl.metrics.readouts import knn, linear_probe, nearest_class_mean
from simo_cl.metrics.stream_geometry import StreamGeometry

CLASSES = 5
NAMES = st.permutations(range(CLASSES)).map(np.array)
SEEDS = st.integers(0, 2**16)


@settings(max_examples=30)
@given(names=NAMES, seed=SEEDS)
def test_accuracies_of_classes(names: np.ndarray, seed: int) -> None:
    true, predicted = np.random.default_rng(seed).integers(CLASSES, size=(2, 40))
    before = confusion_matrix(true, predicted, CLASSES)
    after = confusion_matrix(names[true], names[predicted], CLASSES)
    for classes in ([0], [1, 4], list(range(CLASSES))):
        renamed = names[classes].tolist()
        assert class_accuracy(after, renamed) == pytest.approx(
            class_accuracy(before, classes), nan_ok=True
        )


@pytest.mark.parametrize(
    "read_out", [nearest_class_mean, linear_probe, lambda *given: knn(*given, k=1)]
)
@settings(max_examples=10)
@given(names=NAMES, seed=SEEDS)
def test_read_outs(read_out, names: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(CLASSES, 8))
    labels = np.arange(30) % CLASSES
    train, test = (centres[labels] + random.normal(size=(30, 8)) for _ in range(2))
    renamed = read_out(train, names[labels], test)
    assert (renamed == names[read_out(train, labels, test)]).all()


@settings(max_examples=15)
@given(names=NAMES, seed=SEEDS)
def test_geometry_along_a_stream(names: np.ndarray, seed: int) -> None:
    before, after = StreamGeometry(), StreamGeometry()
    generator = torch.Generator().manual_seed(seed)
    renaming = torch.from_numpy(names)
    for current in ([0, 1, 2], [3, 4]):
        labels = torch.arange(4 * (max(current) + 1)) % (max(current) + 1)
        points = torch.randn(len(labels), 6, generator=generator, dtype=torch.float64)
        found = before.measure("a", points, labels, current=current, num_classes=CLASSES)
        renamed = after.measure(
            "a",
            points,
            renaming[labels],
            current=renaming[current].tolist(),
            num_classes=CLASSES,
        )
        for space, geometry in found.items():
            assert renamed[space].metrics == pytest.approx(geometry.metrics, abs=1e-7)
            moved = renamed[space].class_mean_cos[renaming][:, renaming]
            torch.testing.assert_close(moved, geometry.class_mean_cos, equal_nan=True)
    assert "drift/class_mean" in found["a"].metrics
