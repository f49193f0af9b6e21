"""Anytime metrics against what their papers write, term by term."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simo_cl.metrics.anytime import (
    anytime_accuracy,
    anytime_metrics,
    anytime_min_accuracy,
    anytime_worst_case_accuracy,
)
from simo_cl.metrics.continual import continual_metrics

Curve = tuple[list[float], list[list[float]], list[int], list[int]]


def slow_area(accuracy: list[float], batches: list[int]) -> float:
    """Koh et al.: f, the accuracy after each batch, is summed batch by batch."""
    area = 0.0
    for batch in range(1, batches[-1] + 1):
        point = next(k for k, measured_after in enumerate(batches) if measured_after >= batch)
        area += accuracy[point]
    return area / batches[-1]


def slow_min_accuracy(rows: list[list[float]], experiences: list[int]) -> float:
    """De Lange et al.: over each earlier task the least accuracy once the task was learnt."""
    newest = experiences[-1]
    total = 0.0
    for task in range(newest):
        least = math.inf
        for row, in_training in zip(rows, experiences, strict=True):
            if in_training > task:
                least = min(least, row[task])
        total += least
    return total / newest


def slow_worst_case(rows: list[list[float]], experiences: list[int]) -> float:
    tasks = experiences[-1] + 1
    newest = rows[-1][tasks - 1]
    if tasks == 1:
        return newest
    return newest / tasks + (1 - 1 / tasks) * slow_min_accuracy(rows, experiences)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    share = st.floats(0, 1)
    points_of_each = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    experiences = [e for e, points in enumerate(points_of_each) for _ in range(points)]
    columns = len(points_of_each)
    rows = [[draw(share) if i <= e else math.nan for i in range(columns)] for e in experiences]
    steps = draw(st.lists(st.integers(1, 5), min_size=len(experiences), max_size=len(experiences)))
    return [draw(share) for _ in experiences], rows, np.cumsum(steps).tolist(), experiences


@given(curves())
def test_they_are_what_the_papers_define(curve: Curve) -> None:
    accuracy, rows, batches, experiences = curve
    expected = {
        "anytime/accuracy": slow_area(accuracy, batches),
        "anytime/worst_case_accuracy": slow_worst_case(rows, experiences),
    }
    if experiences[-1]:
        expected["anytime/min_accuracy"] = slow_min_accuracy(rows, experiences)

    assert anytime_metrics(accuracy, rows, batches, experiences) == pytest.approx(expected)


@given(curves())
def test_the_area_under_equally_spaced_points_is_their_mean(curve: Curve) -> None:
    accuracy = curve[0]
    equally_spaced = [7 * (k + 1) for k in range(len(accuracy))]

    assert anytime_accuracy(accuracy, equally_spaced) == pytest.approx(np.mean(accuracy))


def test_with_the_ends_of_experiences_alone_they_are_those_of_the_accuracy_matrix() -> None:
    A = np.random.default_rng(0).random((4, 4))
    of_ends = continual_metrics(A)

    assert anytime_min_accuracy(A, range(4)) == pytest.approx(of_ends["min_accuracy"])
    assert anytime_worst_case_accuracy(A, range(4)) == pytest.approx(of_ends["worst_case_accuracy"])


def test_a_dip_within_an_experience_counts() -> None:
    rows = [[0.9, 0.0], [0.2, 0.5], [0.8, 0.6]]

    assert anytime_min_accuracy(rows, [0, 1, 1]) == 0.2
    assert anytime_worst_case_accuracy(rows, [0, 1, 1]) == pytest.approx(0.4)


@pytest.mark.parametrize("batches", [[], [0, 10], [10, 10], [20, 10], [10]])
def test_batches_that_do_not_rise_are_refused(batches: list[int]) -> None:
    with pytest.raises(ValueError, match="rising numbers of batches above 0"):
        anytime_accuracy([0.5, 0.5], batches)


def test_rows_without_their_experience_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \[0, 2\]"):
        anytime_min_accuracy([[0.5, 0.5], [0.5, 0.5]], [0, 2])
