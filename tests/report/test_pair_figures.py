from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from simo_cl.report.figures import suite_figures
from simo_cl.report.figures.differences import paired_differences
from simo_cl.report.figures.pairs import pairs_of
from simo_cl.report.statistics import compare_all_pairs
from simo_cl.results import load_suite


def figures_of(folder):
    suite = load_suite(folder)
    return {f.name: f for f in suite_figures(suite)}


def test_unit_vectors_lie_on_the_line_and_norms_take_pairs_off_it():
    random = np.random.default_rng(0)
    points = random.normal(size=(12, 5))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    classes = np.arange(12) % 3
    on_line = pairs_of(unit, classes)
    np.testing.assert_allclose(on_line.distance, 2 - 2 * on_line.cosine, atol=1e-12)
    off_line = pairs_of(unit * random.uniform(0.2, 3, (12, 1)), classes)
    np.testing.assert_allclose(off_line.cosine, on_line.cosine, atol=1e-12)
    assert np.abs(off_line.distance - on_line.distance).max() > 0.5


def test_pairs_match_a_double_loop_and_do_not_depend_on_scale():
    points, classes = np.random.default_rng(1).normal(size=(6, 4)), np.array([0, 0, 1, 1, 2, 2])
    square = (points**2).sum(axis=1)
    expected = [
        (
            ((points[i] - points[j]) ** 2).sum() / square.mean(),
            points[i] @ points[j] / np.sqrt(square[i] * square[j]),
            classes[i] == classes[j],
        )
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    for scale in (1.0, 30.0):
        found = pairs_of(scale * points, classes)
        np.testing.assert_allclose(found.distance, [d for d, _, _ in expected])
        np.testing.assert_allclose(found.cosine, [c for _, c, _ in expected])
        assert found.same.tolist() == [same for _, _, same in expected]


def test_every_row_with_stored_points_has_a_panel(make_suite):
    figures = figures_of(make_suite(strategies=("er", "simo"), seeds=(0,), sample=4))
    er, simo = figures["distance_and_orthogonality"].panels
    assert (er.label, simo.label) == ("er", "simo")
    assert "encoder features" in er.alternative
    assert "loss space" in simo.alternative


def test_the_matrix_of_differences_is_antisymmetric_and_leaves_out_joint(make_suite):
    folder = make_suite(strategies=("joint", "finetune", "er", "simo"), seeds=range(4))
    (panel,) = figures_of(folder)["paired_differences"].panels
    assert panel.rows == ("finetune", "er", "simo")
    assert panel.columns == ("minus finetune", "minus er", "minus simo")
    values = np.array(panel.matrix, dtype=float)
    np.testing.assert_allclose(values, -values.T)
    suite = load_suite(folder)
    means = {
        label: np.mean(list(suite.values(label, "average_accuracy").values()))
        for label in panel.rows
    }
    assert values[2, 1] == pytest.approx(means["simo"] - means["er"], abs=1e-3)


def test_the_matrix_of_some_rows_is_corrected_over_the_pairs_of_all(make_suite):
    suite = load_suite(
        make_suite(
            strategies=(
                "finetune",
                "er",
                "er_balanced",
                "der",
                "icarl",
                "supcon",
                "triplet",
                "simo",
            ),
            variants=("memory.size=200", "memory.size=1000"),
            seeds=range(3),
            sample=2,
        )
    )
    figure = paired_differences(suite)
    (panel,) = figure.panels
    assert (len(suite.streamed_labels), len(panel.rows)) == (16, 14)
    assert "Holm's correction over all 120 pairs" in figure.caption
    assert "14 of 16 rows" in figure.caption
    assert "tables/paired_differences.csv has the others" in figure.caption
    assert "--row" not in figure.caption

    axes = Figure().subplots()
    panel.draw(axes)
    shaded = {
        (panel.rows[row], panel.rows[column])
        for row, column in np.argwhere(axes.images[0].get_array()[..., 3])
        if row < column
    }
    assert shaded == told_apart(suite, suite.streamed_labels) & set(combinations(panel.rows, 2))
    assert shaded < told_apart(suite, panel.rows)


def told_apart(suite, labels):
    pairs = compare_all_pairs(suite, labels)
    return {(c.label, c.control) for c in pairs if c.verdict in ("above", "below")}


def test_one_seed_has_no_matrix_of_differences(make_suite):
    figures = figures_of(make_suite(strategies=("er", "simo"), seeds=(0,), sample=4))
    assert "paired_differences" not in figures
