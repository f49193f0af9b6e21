from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simo_cl.metrics.readouts import knn, linear_probe, mlp_head, nearest_class_mean

READOUTS = [nearest_class_mean, linear_probe, knn, mlp_head]


def blobs(seed: int, per_class: int, spread: float, classes: tuple = (2, 5, 9)) -> tuple:
    centres = np.random.default_rng(0).normal(size=(10, 12))
    labels = np.repeat(classes, per_class)
    noise = np.random.default_rng(seed).normal(size=(len(labels), 12))
    return centres[labels] + spread * noise, labels


def slow_nearest_class_mean(train_x, train_y, x):
    predictions = []
    for sample in x:
        distances = {}
        for c in sorted(set(train_y.tolist())):
            units = [row / np.linalg.norm(row) for row in train_x[train_y == c]]
            mean = sum(units) / len(units)
            distances[c] = np.linalg.norm(sample / np.linalg.norm(sample) - mean)
        predictions.append(min(distances, key=distances.get))
    return np.array(predictions)


def slow_knn(train_x, train_y, x, k):
    predictions = []
    for sample in x:
        cosines = [row @ sample / np.linalg.norm(row) for row in train_x]
        nearest = sorted(range(len(train_x)), key=lambda i: -cosines[i])[:k]
        votes = Counter(train_y[i] for i in nearest)
        predictions.append(min(votes, key=lambda c: (-votes[c], c)))
    return np.array(predictions)


class TestAgainstLoop:
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(1, 2**16), per_class=st.integers(1, 8), k=st.integers(1, 12))
    def test_nearest_class_mean_and_knn(self, seed, per_class, k):
        train_x, train_y = blobs(seed, per_class, spread=2)
        x, _ = blobs(seed + 1, 5, spread=2)
        slow = slow_nearest_class_mean(train_x, train_y, x)
        assert (nearest_class_mean(train_x, train_y, x) == slow).all()
        assert (knn(train_x, train_y, x, k) == slow_knn(train_x, train_y, x, k)).all()

    def test_linear_probe_separates_what_means_cannot(self):
        """One class on both sides of the other, and scales that differ by a thousand."""
        x = np.array([[-2.0, 1000.0], [-1.0, 1000.0], [1.0, -3000.0], [2.0, -3000.0]] * 5)
        y = np.array([1, 0, 0, 1] * 5)
        lifted = np.column_stack([x, np.square(x[:, 0])])
        assert (linear_probe(lifted, y, lifted) == y).all()


@pytest.mark.parametrize("readout", READOUTS)
class TestEveryReadout:
    def test_recognises_separate_classes(self, readout):
        train_x, train_y = blobs(1, 20, spread=0.3)
        x, y = blobs(2, 20, spread=0.3)
        assert (readout(train_x, train_y, x) == y).all()

    def test_is_deterministic(self, readout):
        train_x, train_y = blobs(1, 10, spread=3)
        x, _ = blobs(2, 10, spread=3)
        first = readout(train_x, train_y, x)
        assert (readout(train_x, train_y, x) == first).all()

    def test_takes_tensors_of_low_precision(self, readout):
        train_x, train_y = blobs(1, 10, spread=0.3)
        x, y = blobs(2, 10, spread=0.3)
        halves = torch.tensor(train_x).half(), torch.tensor(train_y), torch.tensor(x).half()
        predictions = readout(*halves)
        assert isinstance(predictions, np.ndarray)
        assert predictions.dtype == np.int64
        assert (predictions == y).all()

    def test_single_class(self, readout):
        train_x, train_y = blobs(1, 3, spread=1, classes=(7,))
        x, _ = blobs(2, 4, spread=1)
        assert readout(train_x, train_y, x).tolist() == [7] * len(x)

    def test_single_sample(self, readout):
        assert readout([[1.0, 2.0]], [4], [[0.0, 1.0]]).tolist() == [4]

    def test_collapsed_embeddings(self, readout):
        for value in (0.0, 1.0):
            predictions = readout(np.full((6, 3), value), np.arange(6) % 2, np.ones((4, 3)))
            assert set(predictions) <= {0, 1}

    def test_refuses(self, readout):
        with pytest.raises(ValueError, match=r"\(3, 2\), \(3,\) and \(4, 5\)"):
            readout(np.ones((3, 2)), np.zeros(3), np.ones((4, 5)))
        with pytest.raises(ValueError, match=r"\(3, 2\), \(2,\) and \(4, 2\)"):
            readout(np.ones((3, 2)), np.zeros(2), np.ones((4, 2)))
        with pytest.raises(ValueError, match="at least one training sample"):
            readout(np.ones((0, 2)), np.zeros(0), np.ones((4, 2)))
        with pytest.raises(ValueError, match="training embeddings contain NaN"):
            readout([[np.nan, 1.0]], [0], np.ones((4, 2)))


def test_knn_refuses_no_neighbours():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        knn([[1.0]], [0], [[1.0]], k=0)
