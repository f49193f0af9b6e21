from __future__ import annotations

import numpy as np
import pytest

from simo_cl.report.figures.class_pairs import (
    class_means,
    class_means_by_experience,
    similarity_of_samples,
)
from simo_cl.report.figures.matrices import confusion
from simo_cl.results import load_suite


@pytest.fixture
def load(make_suite):
    return lambda **options: load_suite(make_suite(**options))


def test_cosines_after_each_experience_stand_beside_the_simplex(load):
    suite = load(strategies=("joint", "simo"), seeds=(0, 1), sample=3)

    figure = class_means_by_experience(suite, "embedding_centred")

    assert [(panel.label, panel.step) for panel in figure.panels] == [
        ("simo", step) for step in range(5)
    ]
    assert figure.columns == 5
    arrays = [run.array("class_mean_cos/embedding_centred") for run in suite.finished("simo")]
    after_two = np.mean(arrays, axis=0)[1][:4, :4]
    off_diagonal = after_two[~np.eye(4, dtype=bool)]
    expected = f"{off_diagonal.mean():.2f} ± {off_diagonal.std():.2f}, simplex −0.33"
    assert figure.panels[1].alternative.endswith(expected.replace("-", "−"))
    assert figure.panels[1].matrix[0][4:] == (None,) * 6


def test_seeds_with_orders_of_their_own_are_averaged_by_place(load):
    suite = load(strategies=("er",), seeds=(0, 1), classes=4, experiences=2, sample=3)
    before = figures_of_classes(suite)
    relabel(suite.finished("er")[1].folder / "arrays.npz", [2, 0, 3, 1])

    after = figures_of_classes(load_suite(suite.folder))

    for natural, own in zip(before, after, strict=True):
        assert [panel.matrix for panel in own.panels] == [panel.matrix for panel in natural.panels]
        assert own.caption == natural.caption.replace(
            " Mean over",
            " Seeds learn classes in orders of their own: numbers are places in them. Mean over",
        )
    assert before[0].panels[0].rows[2] == "true class 2"
    assert after[0].panels[0].rows[2] == "true 3"


def figures_of_classes(suite):
    of_means = (make(suite, "features") for make in (class_means, class_means_by_experience))
    return [confusion(suite), *of_means]


def relabel(path, classes):
    """Gives every class of a run another number."""
    arrays = dict(np.load(path))
    for name in ("confusion", "class_mean_cos/features"):
        arrays[name] = arrays[name][:, classes][:, :, classes]
    arrays["experience_of_class"] = arrays["experience_of_class"][classes]
    np.savez(path, **arrays)


def test_one_class_has_no_simplex(load):
    suite = load(strategies=("simo",), seeds=(0,), classes=4, experiences=2, sample=3)
    path = suite.finished("simo")[0].folder / "arrays.npz"
    arrays = dict(np.load(path))
    arrays["class_mean_cos/embedding"][0, 1:] = np.nan
    arrays["class_mean_cos/embedding"][0, :, 1:] = np.nan
    np.savez(path, **arrays)

    first, second = class_means_by_experience(load_suite(suite.folder), "embedding").panels

    assert "simplex" not in first.alternative
    assert "simplex −0.33" in second.alternative


def test_samples_stand_class_by_class_in_the_order_of_learning(load):
    suite = load(strategies=("simo",), seeds=(0,), classes=4, experiences=2, sample=50)
    run = suite.finished("simo")[0]
    arrays = dict(np.load(run.folder / "embeddings.npz"))
    arrays["test_embedding"] = np.eye(4)[arrays["test_labels"]]
    np.savez(run.folder / "embeddings.npz", **arrays)

    figure = similarity_of_samples(suite, "embedding")

    assert figure.panels[0].alternative == (
        "simo: mean similarity of samples of one class 1.00, of different classes 0.00"
    )


def test_more_classes_than_samples_have_no_similarity_within(load):
    suite = load(strategies=("er",), seeds=(0,), classes=160, experiences=2, sample=1)

    alternative = similarity_of_samples(suite, "features").panels[0].alternative

    assert alternative.startswith("er: mean similarity of samples of different classes 0.")


def test_rows_without_a_loss_space_have_no_similarities_there(load):
    suite = load(strategies=("er",), seeds=(0,), sample=3)

    assert similarity_of_samples(suite, "embedding").panels == ()
    assert len(similarity_of_samples(suite, "features").panels) == 1
