from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from simo_cl.report.figures import suite_figures, write_figures
from simo_cl.report.figures.embeddings import shown_rows, shown_steps, spaced
from simo_cl.report.figures.movement import movement
from simo_cl.report.figures.tsne import pairs_of_classes, train_and_test
from simo_cl.report.tsne import tsne_layout
from simo_cl.results import load_suite
from simo_cl.results.styles import RULE

DRAWN_FROM_SAMPLES = ("tsne", "movement", "distance_and_orthogonality", "simo_similarity_samples")


@pytest.fixture
def load(make_suite):
    return lambda **options: load_suite(make_suite(**options))


def test_train_and_test_samples_of_every_row_are_drawn(load):
    suite = load(strategies=("er", "simo"), seeds=(0, 1), sample=5)

    figure = train_and_test(suite)

    assert [panel.title for panel in figure.panels] == [
        "er · train",
        "er · test",
        "simo · train",
        "simo · test",
    ]
    assert figure.panels[0].alternative == (
        "t-SNE of 50 training samples of er, encoder features, seed 0"
    )
    assert "loss space" in figure.panels[3].alternative
    assert list(figure.colours)[:2] == ["airplane", "automobile"]


def test_rows_can_be_chosen(load):
    suite = load(strategies=("er", "icarl", "simo"), seeds=(0,), sample=3)

    for draw in (train_and_test, pairs_of_classes, movement):
        assert {panel.label for panel in draw(suite, ["icarl"]).panels} == {"icarl"}


def test_many_classes_have_the_colour_of_their_experience(load):
    suite = load(strategies=("er",), seeds=(0,), classes=40, experiences=4, sample=3)

    assert list(train_and_test(suite).colours) == ["exp. 1", "exp. 2", "exp. 3", "exp. 4"]


def test_no_two_of_many_experiences_look_alike(load):
    suite = load(strategies=("er",), seeds=(0,), classes=42, experiences=21, sample=3)

    for figure in (train_and_test(suite), movement(suite)):
        assert len(set(figure.colours.values())) == len(figure.colours)
        names = [name for name in figure.colours if name.startswith("exp.")]
        assert names[:2] == ["exp. 1–3", "exp. 4–6"]
        assert names[-1] == "exp. 19–21"


def test_the_same_points_have_the_same_layout():
    points = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float16)

    once, again = tsne_layout(points), tsne_layout(points.copy())

    np.testing.assert_array_equal(once, again)
    assert once.shape == (60, 2)


def test_a_layout_keeps_classes_apart():
    random = np.random.default_rng(0)
    points = random.normal(size=(60, 8)) * 0.1 + np.repeat(np.eye(8)[:2], 30, axis=0)

    xy = tsne_layout(points)

    distances = np.linalg.norm(xy[:, None] - xy, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 30 == np.arange(60) // 30).all()


def test_points_that_coincide_can_be_laid_out():
    assert np.isfinite(tsne_layout(np.ones((12, 4)))).all()


def test_a_grid_has_a_cell_for_every_pair_of_classes(load, panels):
    suite = load(strategies=("simo",), seeds=(0,), classes=4, experiences=2, sample=6)

    figure = pairs_of_classes(suite)
    (root,) = panels(suite, figure)

    dotted = [e for e in root.iter() if "stroke-linecap: round" in e.get("style", "")]
    assert len(dotted) == 2 * 6
    texts = {e.text for e in root.iter() if e.tag.endswith("}text")}
    assert {"class 0", "class 1", "class 2", "class 3"} <= texts


def test_ten_of_many_classes_stand_in_the_grid(load):
    suite = load(strategies=("er",), seeds=(0,), classes=40, experiences=4, sample=2)

    figure = pairs_of_classes(suite)

    named = figure.panels[0].alternative.split(":")[0]
    assert named.count("class ") == 10
    assert {"class 0", "class 39"} <= set(named.removeprefix("Pairwise t-SNE of ").split(", "))
    assert "10 classes, evenly spaced" in figure.caption


def test_movement_has_a_panel_for_each_experience_with_its_numbers(load):
    suite = load(strategies=("joint", "simo"), seeds=(0, 1), sample=5)

    figure = movement(suite)

    assert [(panel.label, panel.step) for panel in figure.panels] == [
        ("simo", step) for step in range(5)
    ]
    measured = suite.finished("simo")[0].history[4].metrics
    purity, drift = (
        f"{measured[f'embedding/{name}']:.2f}"
        for name in ("neighbourhood/knn_purity", "drift/class_mean")
    )
    assert f"purity {purity}" in figure.panels[4].alternative
    assert f"drift {drift}" in figure.panels[4].alternative
    assert "drift" not in figure.panels[0].alternative


def test_movement_shows_classes_that_are_not_learnt_yet_in_grey(load, panels):
    suite = load(strategies=("simo",), seeds=(0,), classes=4, experiences=2, sample=5)

    figure = movement(suite)
    first, last = panels(suite, figure)

    def dots(root: ET.Element) -> list[str]:
        styles = [e.get("style", "") for e in root.iter()]
        return [style for style in styles if "stroke-linecap: round" in style]

    assert sum("var(--rule)" in style for style in dots(first)) == 1
    assert len(dots(first)) == 3
    assert not any("var(--rule)" in style for style in dots(last))
    assert len(dots(last)) == 4
    assert figure.colours["not learnt yet"] == RULE[0]


def test_runs_without_snapshots_have_no_movement(load):
    suite = load(strategies=("er",), seeds=(0,), sample=3)
    (suite.finished("er")[0].folder / "snapshots.npz").unlink()

    assert movement(suite).panels == ()


def test_rows_with_a_loss_space_are_shown_first(load):
    suite = load(
        strategies=("joint", "er", "icarl", "simo"),
        seeds=(0,),
        variants=("memory.size=1", "memory.size=2"),
        sample=2,
    )

    shown = shown_rows(suite, suite.finished_labels, 3)

    assert shown == ("er[memory.size=1]", "icarl[memory.size=1]", "simo[memory.size=1]")
    assert shown_rows(suite, suite.finished_labels, 1) == ("simo[memory.size=1]",)
    figure = train_and_test(suite, shown)
    assert " 3 of 8 rows, those with a loss space of their own first; " in figure.caption


def test_few_experiences_are_all_shown_and_of_many_the_first_and_last():
    assert shown_steps(3) == [0, 1, 2]
    assert shown_steps(20) == [0, 4, 8, 11, 15, 19]


def test_a_part_of_the_samples_has_every_class():
    classes = np.repeat([5, 2, 9], [10, 20, 30])

    kept = spaced(classes, 12)

    assert [int((classes[kept] == c).sum()) for c in (2, 5, 9)] == [4, 2, 6]


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (
            "embeddings.npz",
            {"test_embedding": np.inf},
            "test_embedding in embeddings.npz holds NaN",
        ),
        ("embeddings.npz", {"train_embedding": np.nan}, "train_embedding in embeddings.npz holds"),
        ("embeddings.npz", {"test_labels": slice(-3)}, r"has the shape \(12, 16\), which does not"),
        ("embeddings.npz", {"test_labels": None}, r"has the shape \(12, 16\), which does not"),
        (
            "embeddings.npz",
            {"test_embedding": slice(0)},
            "test_embedding in embeddings.npz is empty",
        ),
        ("snapshots.npz", {"embedding": np.inf}, "embedding in snapshots.npz holds NaN or inf"),
        ("snapshots.npz", {"embedding": slice(0)}, "embedding in snapshots.npz is empty"),
    ],
)
def test_arrays_that_cannot_be_drawn_cost_their_run_its_panel_alone(
    make_suite, file, change, reason
):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,), classes=4, experiences=2, sample=3)
    whole = suite_figures(load_suite(folder))
    before = {figure.name: {(p.label, p.title) for p in figure.panels} for figure in whole}
    path = next((folder / "runs/simo").iterdir()) / file
    arrays = dict(np.load(path))
    for name, how in change.items():
        if how is None:
            del arrays[name]
        elif isinstance(how, slice):
            arrays[name] = arrays[name][how]
        else:
            arrays[name][..., 0, 0] = how
    np.savez(path, **arrays)
    suite = load_suite(folder)

    figures = suite_figures(suite)
    drawn = {figure.name: {(p.label, p.title) for p in figure.panels} for figure in figures}

    assert re.search(reason, suite.finished("simo")[0].unusable)
    assert not suite.finished("er")[0].unusable
    lost = {name: panels - drawn.get(name, set()) for name, panels in before.items()}
    lost = {name: panels for name, panels in lost.items() if panels}
    assert lost
    assert all(name.startswith(DRAWN_FROM_SAMPLES) for name in lost)
    assert {label for panels in lost.values() for label, _ in panels} == {"simo"}


def test_a_panel_that_fails_says_so_and_the_others_are_drawn(make_suite):
    def fail(ax: object) -> None:
        raise ValueError("no such layout")

    folder = make_suite(strategies=("er", "simo"), seeds=(0,), classes=4, experiences=2, sample=3)
    suite = load_suite(folder)
    figure = train_and_test(suite)
    first = replace(figure.panels[0], draw=fail)
    broken = replace(figure, panels=(first, *figure.panels[1:]))

    written = write_figures(suite, [broken])["tsne"]

    said = "".join(ET.fromstring(written.panels[first.key]).itertext())
    assert "not drawn: ValueError" in said
    assert "not drawn" not in written.panels[figure.panels[1].key]
    assert all(path.is_file() for path in written.files)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_layout_does_not_depend_on_the_size_of_the_points(size):
    points = np.random.default_rng(0).normal(size=(30, 8))
    layout = tsne_layout((points * size).astype(np.float32))
    assert np.isfinite(layout).all()
    assert np.ptp(layout) > 0
