from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simo_cl.metrics.continual import (
    average_accuracy,
    average_anytime_accuracy,
    backward_transfer,
    class_accuracy,
    confusion_matrix,
    continual_metrics,
    forgetting,
    forward_transfer,
    intransigence,
    learning_accuracy,
    min_accuracy,
    worst_case_accuracy,
)

A = np.array(
    [
        [0.9, 0.0, 0.0],
        [0.5, 0.8, 0.0],
        [0.6, 0.4, 0.7],
    ]
)


def slow_metrics(A: np.ndarray) -> dict:
    """The definitions with 1-based experiences, one entry at a time."""
    T = len(A)

    def a(t: int, i: int) -> float:
        return float(A[t - 1, i - 1])

    def old_mean(term) -> float:
        return sum(term(i) for i in range(1, T)) / (T - 1)

    metrics = {
        "average_accuracy": sum(a(T, i) for i in range(1, T + 1)) / T,
        "average_anytime_accuracy": sum(
            sum(a(t, i) for i in range(1, t + 1)) / t for t in range(1, T + 1)
        )
        / T,
        "learning_accuracy": sum(a(i, i) for i in range(1, T + 1)) / T,
        "worst_case_accuracy": a(T, T) / T,
    }
    if T == 1:
        return metrics
    minimum = old_mean(lambda i: min(a(t, i) for t in range(i + 1, T + 1)))
    metrics["worst_case_accuracy"] += (1 - 1 / T) * minimum
    return metrics | {
        "min_accuracy": minimum,
        "forgetting": old_mean(lambda i: max(a(t, i) for t in range(i, T)) - a(T, i)),
        "backward_transfer": old_mean(lambda i: a(T, i) - a(i, i)),
    }


@st.composite
def accuracy_matrices(draw) -> np.ndarray:
    columns = draw(st.integers(1, 7))
    shape = (draw(st.integers(1, columns)), columns)
    return draw(arrays(float, shape, elements=st.floats(0, 1)))


class TestAccuracyMatrix:
    def test_by_hand(self):
        assert average_accuracy(A) == pytest.approx((0.6 + 0.4 + 0.7) / 3)
        assert average_anytime_accuracy(A) == pytest.approx((0.9 + 0.65 + 1.7 / 3) / 3)
        assert min_accuracy(A) == pytest.approx((0.5 + 0.4) / 2)
        assert worst_case_accuracy(A) == pytest.approx(0.7 / 3 + 2 / 3 * 0.45)
        assert forgetting(A) == pytest.approx((0.3 + 0.4) / 2)
        assert backward_transfer(A) == pytest.approx((-0.3 - 0.4) / 2)
        assert learning_accuracy(A) == pytest.approx((0.9 + 0.8 + 0.7) / 3)

    @settings(deadline=None)
    @given(accuracy_matrices())
    def test_against_slow(self, A):
        assert continual_metrics(A) == pytest.approx(slow_metrics(A))

    @settings(deadline=None)
    @given(accuracy_matrices())
    def test_properties(self, A):
        metrics = continual_metrics(A)
        for name, value in metrics.items():
            assert (-1 if name in ("forgetting", "backward_transfer") else 0) <= value <= 1
        if len(A) > 1:
            assert metrics["forgetting"] >= -metrics["backward_transfer"] - 1e-9
            assert metrics["min_accuracy"] <= np.mean(A[-1, : len(A) - 1]) + 1e-9
            assert metrics["worst_case_accuracy"] <= metrics["average_accuracy"] + 1e-9

    @settings(deadline=None)
    @given(accuracy_matrices())
    def test_unseen_entries_are_not_read(self, A):
        blank = np.where(np.tri(*A.shape, dtype=bool), A, math.nan)
        assert continual_metrics(blank) == continual_metrics(A)

    def test_undefined_is_left_out(self):
        assert set(continual_metrics(A[:1])) == {
            "average_accuracy",
            "average_anytime_accuracy",
            "worst_case_accuracy",
            "learning_accuracy",
        }
        assert math.isnan(forgetting(A[:1]))
        assert "average_accuracy" not in continual_metrics([[0.5, 0.5], [math.nan, 0.5]])

    def test_joint(self):
        row = [[0.9, 0.7, 0.5]]
        expected = {"average_accuracy": 0.7}
        assert continual_metrics(row, joint=True) == pytest.approx(expected)
        with pytest.raises(ValueError, match=r"one row.*\(3, 3\)"):
            continual_metrics(A, joint=True)

    @pytest.mark.parametrize("wrong", [np.zeros((3, 2)), np.zeros(3), np.zeros((0, 3))])
    def test_refuses_other_shapes(self, wrong):
        with pytest.raises(ValueError, match="accuracy matrix"):
            forgetting(wrong)

    def test_refuses_percent(self):
        with pytest.raises(ValueError, match=r"shares in \[0, 1\].*90"):
            average_accuracy(100 * A)


class TestComparedRuns:
    def test_intransigence(self):
        expected = ((0.95 - 0.9) + (0.9 - 0.8) + (0.6 - 0.7)) / 3
        assert intransigence(A, [0.95, 0.9, 0.6]) == pytest.approx(expected)
        assert intransigence(A, [[0.95, 0.9, 0.6]]) == pytest.approx(expected)
        assert intransigence(A[:1], [0.95, 0.9, 0.6]) == pytest.approx(0.05)

    def test_forward_transfer(self):
        knn = [[0.9, 0.6, 0.5], [0.8, 0.8, 0.7], [0.7, 0.7, 0.9]]
        initial = [0.5, 0.5, 0.4]
        assert forward_transfer(knn, initial) == pytest.approx(((0.6 - 0.5) + (0.7 - 0.4)) / 2)
        assert forward_transfer(knn[:1], initial) == pytest.approx(0.1)
        assert forward_transfer(knn[:2], initial) == pytest.approx(0.2)
        assert math.isnan(forward_transfer([[0.9]], [0.5]))

    def test_refuse_other_streams(self):
        with pytest.raises(ValueError, match="A_joint has 2 experiences and A 3"):
            intransigence(A, [0.9, 0.9])
        with pytest.raises(ValueError, match="initial has 4 experiences and A 3"):
            forward_transfer(A, [0.1] * 4)


class TestConfusion:
    TRUE = (0, 0, 0, 1, 1, 3)
    PREDICTED = (0, 0, 1, 1, 3, 3)

    def test_counts(self):
        confusion = confusion_matrix(self.TRUE, self.PREDICTED, 4)
        assert confusion.tolist() == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
        assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
    def test_against_loop(self, pairs):
        slow = np.zeros((5, 5), dtype=int)
        for true, predicted in pairs:
            slow[true, predicted] += 1
        confusion = confusion_matrix([t for t, _ in pairs], [p for _, p in pairs], 5)
        assert (confusion == slow).all()
        for classes in ([0, 1], [4], [2, 3, 0]):
            inside = [t == p for t, p in pairs if t in classes]
            expected = np.mean(inside) if inside else math.nan
            assert class_accuracy(confusion, classes) == pytest.approx(expected, nan_ok=True)

    def test_accuracies(self):
        confusion = confusion_matrix(self.TRUE, self.PREDICTED, 4)
        per_class = [2 / 3, 1 / 2, math.nan, 1]
        assert [class_accuracy(confusion, [c]) for c in range(4)] == pytest.approx(
            per_class, nan_ok=True
        )
        assert class_accuracy(confusion, [1, 3]) == pytest.approx(2 / 3)
        assert class_accuracy(confusion, [0]) == pytest.approx(2 / 3)
        assert math.isnan(class_accuracy(confusion, []))

    def test_refuses_unknown_classes(self):
        with pytest.raises(ValueError, match=r"prediction 7 is not in \[0, 4\)"):
            confusion_matrix([0], [7], 4)
        with pytest.raises(ValueError, match=r"label -1 is not in \[0, 4\)"):
            confusion_matrix([-1], [0], 4)
