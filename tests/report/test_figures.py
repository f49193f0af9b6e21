from __future__ import annotations

import itertools
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from processes import forks

from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.drawing import NEGATIVE, POSITIVE, draw_band, spread_labels, write_in_cell
from simo_cl.report.figures import draw_figure, suite_figures, write, write_figures
from simo_cl.report.figures.geometry import geometry_curves
from simo_cl.results import load_suite
from simo_cl.results.styles import INK, SURFACE, Style


@pytest.fixture
def draw(make_suite):
    def figures(**options):
        suite = load_suite(make_suite(**options))
        return suite, {f.name: f for f in suite_figures(suite)}

    return figures


def test_every_kind_of_figure_is_there(draw):
    _, figures = draw(strategies=("joint", "er", "simo"), seeds=(0, 1), sample=5)
    spaces = ("features", "features_centred", "embedding", "embedding_centred")
    assert set(figures) == {
        "comparison",
        "paired_differences",
        "distance_and_orthogonality",
        "accuracy",
        "forgetting",
        "accuracy_matrices",
        "confusion",
        "accuracy_against_time",
        "plasticity",
        "forces",
        "tsne",
        "tsne_pairs",
        "movement",
        "simo_similarity_features",
        "simo_similarity_embedding",
        "simo_similarity_samples_features",
        "simo_similarity_samples_embedding",
        *(f"geometry_{space}" for space in spaces),
        *(f"class_mean_cosines_{space}" for space in spaces),
        *(f"class_mean_cosines_steps_{space}" for space in spaces),
    }
    assert all(panel.alternative for f in figures.values() for panel in f.panels)


def test_figures_without_numbers_are_left_out(draw):
    _, figures = draw(strategies=("joint",), seeds=(0,), sample=5)
    assert not {"forgetting", "plasticity", "geometry_embedding"} & figures.keys()
    assert "accuracy" in figures


def with_curves(suite_folder: Path, batches: dict[int, list[int]]) -> None:
    """Gives every run of a suite accuracies within its two experiences: its seed, in tenths."""
    for path in suite_folder.glob("runs/*/seed*/arrays.npz"):
        seed = int(path.parent.name.removeprefix("seed")[0])
        n = len(batches[seed])
        np.savez(
            path,
            **np.load(path),
            **{
                "anytime/batches": np.array(batches[seed]),
                "anytime/experience": np.arange(n) * 2 // n,
                "anytime/accuracy": np.linspace(seed / 10, seed / 10 + 0.4, n),
            },
        )


def test_accuracy_within_experiences_is_a_mean_over_seeds(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1, 2), experiences=2, sample=5)
    # The last seed was measured after other batches; its curve is read at those of the others.
    with_curves(folder, {0: [4, 8, 12, 16], 1: [4, 8, 12, 16], 2: [4, 10, 16]})
    figures = {f.name: f for f in suite_figures(load_suite(folder))}
    ax = Canvas().add_subplot()
    figures["anytime"].panels[0].draw(ax)

    lines = [line for line in ax.lines if len(line.get_xdata()) == 4]
    assert len(lines) == 2
    for line in lines:
        np.testing.assert_allclose(line.get_xdata(), [4, 8, 12, 16])
        np.testing.assert_allclose(line.get_ydata(), np.linspace(0.1, 0.5, 4))
    assert len(ax.patches) == 2
    assert ax.get_xticks().tolist() == [8, 16]
    assert figures["anytime"].panels[0].alternative.endswith("er 0.500; simo 0.500")


def test_a_row_of_which_a_seed_has_no_curve_is_left_out(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1), experiences=2, sample=5)
    with_curves(folder, {0: [4, 8], 1: [4, 8]})
    path = next(folder.glob("runs/er/seed1*/arrays.npz"))
    arrays = dict(np.load(path))
    del arrays["anytime/accuracy"]
    np.savez(path, **arrays)
    figures = {f.name: f for f in suite_figures(load_suite(folder))}
    assert figures["anytime"].panels[0].alternative.endswith("last: simo 0.450")


def test_a_suite_without_finished_runs_has_no_figures(draw):
    _, figures = draw(strategies=("er",), seeds=(0,), failed=[("er", 0)])
    assert figures == {}


def test_the_accuracy_matrix_hides_what_was_not_learnt_yet(draw):
    suite, figures = draw(strategies=("joint", "simo"), seeds=(0, 1), sample=5)
    joint, simo = figures["accuracy_matrices"].panels
    assert len(joint.matrix) == 1
    assert simo.matrix[0][1:] == (None,) * 4
    stored = [run.array("accuracy/own")[4, 2] for run in suite.finished("simo")]
    assert simo.matrix[4][2] == pytest.approx(np.mean(stored), abs=5e-4)


def test_a_band_ends_where_values_do():
    ax = Canvas().add_subplot()
    style = Style("#2852ae", "#8ab4ff", "o")
    draw_band(ax, [1, 2], [Spread(0.98, 0.05, 3)] * 2, style, ["er"], bounds=(0, 1))
    (band,) = ax.patches
    heights = band.get_xy()[:, 1]
    assert heights.max() == 1
    assert heights.min() == pytest.approx(0.98 - 4.302653 * 0.05 / np.sqrt(3))


def test_the_band_of_a_cosine_ends_at_one(make_suite):
    suite = load_suite(make_suite(strategies=("er", "simo", "icarl"), sample=4))
    panels = {p.title: p for p in geometry_curves(suite, "features").panels}
    ax = Canvas().add_subplot()
    panels["largest |cos| of class means"].draw(ax)
    assert max(band.get_xy()[:, 1].max() for band in ax.patches) == 1


def test_confusion_is_a_share_of_the_true_class(draw):
    _, figures = draw(strategies=("er",), seeds=(0,), sample=5)
    (panel,) = figures["confusion"].panels
    np.testing.assert_allclose(np.sum(panel.matrix, axis=1), 1, atol=0.005)
    assert panel.rows[0] == "true airplane"


def test_classes_stand_in_the_order_in_which_they_were_learnt(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,), sample=5)
    path = folder / "runs/er/seed0-1a2b3c4d/arrays.npz"
    arrays = dict(np.load(path))
    arrays["experience_of_class"] = arrays["experience_of_class"][::-1]
    np.savez(path, **arrays)
    figures = {f.name: f for f in suite_figures(load_suite(folder))}
    assert figures["confusion"].panels[0].rows[:2] == ("true ship", "true truck")


@pytest.mark.parametrize("experiences", [5, 10, 20, 100])
def test_the_experiences_of_a_matrix_are_named_apart(draw, experiences):
    suite, figures = draw(
        strategies=("joint", "er"),
        seeds=(0,),
        classes=2 * experiences,
        experiences=experiences,
        sample=1,
    )
    canvas = draw_figure(suite, figures["accuracy_matrices"])
    canvas.draw_without_rendering()
    for axes in canvas.axes[:2]:
        numbers = [text for text in axes.texts if text.get_text().isdecimal()]
        assert numbers[0].get_text() == "1"
        boxes = [text.get_window_extent() for text in numbers]
        pairs = itertools.combinations(boxes, 2)
        assert not any(one.overlaps(other) for one, other in pairs)


@pytest.mark.parametrize("name", ["accuracy", "plasticity"])
def test_many_names_stand_apart_and_within_the_sheet(draw, name):
    variants = [f"memory.size={size}" for size in range(100, 900, 100)]
    suite, figures = draw(
        strategies=("joint", "er", "icarl", "der"), variants=variants, seeds=(0,), sample=1
    )
    canvas = draw_figure(suite, figures[name])
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    boxes = [Text.get_window_extent(text).extents for text in axes.texts]  # without the tie
    assert len(boxes) >= 24
    assert all(canvas.bbox.y0 <= low and high <= canvas.bbox.y1 for _, low, _, high in boxes)
    middles = sorted((low + high) / 2 for _, low, _, high in boxes)
    assert np.diff(middles).min() * 72 / canvas.dpi > 8  # points, as high as the letters


def test_a_legend_of_long_names_is_whole(draw):
    variants = [f"memory.size={size},leaning=0.125" for size in (100, 200, 500, 1000)]
    suite, figures = draw(strategies=("supcon", "simo"), variants=variants, seeds=(0,), sample=3)
    canvas = draw_figure(suite, figures["geometry_embedding"])
    canvas.draw_without_rendering()
    (legend,) = canvas.legends
    assert len(legend.get_texts()) == 8
    x0, y0, x1, y1 = legend.get_window_extent().extents
    assert 0 <= x0 < x1 <= canvas.bbox.x1
    below = [axes.get_tightbbox().y0 for axes in canvas.axes]
    assert 0 <= y0 < y1 <= min(below)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("value", np.linspace(-1, 1, 41))
def test_text_can_be_read_on_every_cell(value, dark):
    axes = Canvas().add_subplot()
    write_in_cell(axes, 0, 0, "", 7, value)
    text = {INK[0]: INK[dark]}.get(colour := axes.texts[0].get_color(), colour)
    cell = np.array(NEGATIVE if value < 0 else POSITIVE) / 255
    if dark:  # as in report.css
        cell = np.minimum(1.45 * cell, 1)
    under = abs(value) * cell + (1 - abs(value)) * np.array(to_rgb(SURFACE[dark]))
    darker, lighter = sorted(luminance(colour) for colour in (to_rgb(text), under))
    assert (lighter + 0.05) / (darker + 0.05) > 3.6


def luminance(colour):
    """Relative, as WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_many_classes_carry_no_tooltips(draw):
    _, figures = draw(strategies=("er",), seeds=(0,), classes=40, experiences=4, sample=3)
    assert figures["confusion"].panels[0].matrix is None
    assert figures["accuracy_matrices"].panels[0].matrix is not None


def files_of(suite, figures, *, pdf=True) -> dict[Path, bytes]:
    written = write_figures(suite, figures, pdf=pdf).values()
    return {path: path.read_bytes() for figure in written for path in figure.files}


def test_files_are_the_same_whenever_and_wherever_they_are_drawn(draw, monkeypatch):
    suite, figures = draw(strategies=("er", "simo"), seeds=(0, 1), sample=5)
    wanted = [figures["accuracy"], figures["confusion"]]

    first = files_of(suite, wanted)

    assert {path.name for path in first} == {
        f"{name}{ending}"
        for name in ("accuracy", "confusion")
        for ending in (".svg", ".png", ".pdf")
    }
    shutil.rmtree(suite.folder / "figures")
    monkeypatch.setattr(write, "cpu_count", lambda: 2)
    monkeypatch.setattr(write, "_FIGURES_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(write, "process_context", forks)
    told = []
    written = write_figures(
        suite, wanted, pdf=True, progress=lambda drawn, of: told.append((drawn, of))
    )
    assert {p: p.read_bytes() for each in written.values() for p in each.files} == first
    assert told == [(1, 2), (2, 2)]
    assert b"mark:" not in first[suite.folder / "figures/accuracy.svg"]
    assert b"/Type3" not in first[suite.folder / "figures/accuracy.pdf"]


def test_only_figures_that_have_changed_are_drawn_again(draw):
    suite, figures = draw(strategies=("er", "simo"), seeds=(0,), sample=5)
    before = write_figures(suite, [figures["accuracy"], figures["forgetting"]])
    for figure in before.values():
        for file in figure.files:
            file.write_text("as it was")
    again = load_suite(suite.folder)
    same = {f.name: f for f in suite_figures(again)}
    other = replace(same["forgetting"], size=(1.0, 1.0))

    after = write_figures(again, [same["accuracy"], other])

    assert after["accuracy"] == before["accuracy"]
    assert {file.read_text() for file in after["accuracy"].files} == {"as it was"}
    assert all(file.read_bytes() != b"as it was" for file in after["forgetting"].files)
    assert after["forgetting"].panels != before["forgetting"].panels


@pytest.mark.parametrize("lost", ["accuracy.pdf", ".drawn/accuracy.json"])
def test_a_figure_that_lacks_something_is_drawn_again(draw, lost):
    suite, figures = draw(strategies=("er",), seeds=(0,), sample=5)
    first = files_of(suite, [figures["accuracy"]])
    (suite.folder / "figures" / lost).unlink()

    assert files_of(suite, [figures["accuracy"]]) == first


def test_a_pdf_is_written_where_asked_and_then_kept_up_to_date(draw):
    suite, figures = draw(strategies=("er",), seeds=(0,), sample=5)
    pdf = suite.folder / "figures/accuracy.pdf"
    assert pdf not in files_of(suite, [figures["accuracy"]], pdf=False)
    assert not pdf.exists()

    first = files_of(suite, [figures["accuracy"]])[pdf]

    again = files_of(suite, [replace(figures["accuracy"], size=(1.0, 1.0))], pdf=False)
    assert again[pdf] != first


def test_half_written_figures_are_not_kept(draw, monkeypatch):
    suite, figures = draw(strategies=("er",), seeds=(0,), sample=5)
    figure = figures["accuracy"]
    first = files_of(suite, [figure])
    save = Canvas.savefig

    def full_disk(canvas, target, **options):
        if str(target).endswith(".png"):
            raise OSError("No space left on device")
        save(canvas, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Canvas, "savefig", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_figures(suite, [replace(figure, size=(1.0, 1.0))])

    assert files_of(suite, [figure]) == first


def test_stale_figures_go_and_files_of_others_stay(draw):
    suite, figures = draw(strategies=("er",), seeds=(0,), sample=5)
    write_figures(suite, [figures["accuracy"], figures["confusion"]], pdf=True)
    (suite.folder / "figures/mine.svg").write_text("mine")

    write_figures(suite, [figures["accuracy"]])

    assert {path.name for path in (suite.folder / "figures").iterdir()} == {
        ".drawn",
        "accuracy.svg",
        "accuracy.png",
        "accuracy.pdf",
        "mine.svg",
    }
    assert [path.name for path in (suite.folder / "figures/.drawn").iterdir()] == ["accuracy.json"]


def test_panels_follow_the_page_and_carry_marks(draw, panels):
    suite, figures = draw(strategies=("er", "simo"), seeds=(0, 1), sample=5)
    (root,) = panels(suite, figures["accuracy"])
    svg = ET.tostring(root, encoding="unicode")
    assert root.get("role") == "img"
    assert "simo 0." in root.get("aria-label")
    assert "var(--hue-blue)" in svg
    assert "#2852ae" not in svg
    tips = [e.get("data-tip") for e in root.iter() if e.get("data-series") == "simo"]
    assert any(tip and tip.startswith("simo\nafter experience 5: 0.") for tip in tips)
    assert any(tip and tip.endswith("(2 seeds)") for tip in tips)


def test_each_panel_is_cut_from_its_place_in_the_drawing(draw, panels):
    suite, figures = draw(strategies=("er", "simo", "joint", "icarl"), seeds=(0,), sample=5)
    figure = replace(figures["confusion"], columns=2)
    width, height = (72 * side for side in figure.cell)
    for index, root in enumerate(panels(suite, figure)):
        row, column = divmod(index, 2)
        box = [float(number) for number in root.get("viewBox").split()]
        assert box == pytest.approx([column * width, row * height, width, height], rel=1e-4)
        texts = [e for e in root.iter() if e.tag.endswith("}text")]
        assert figure.panels[index].title in {text.text for text in texts}
        for text in texts:
            place = text.get("transform") or f"({text.get('x')} {text.get('y')})"
            x, y = map(float, re.findall(r"-?[\d.]+", place)[-2:])
            assert box[0] <= x <= box[0] + width
            assert box[1] <= y <= box[1] + height


def test_ids_of_two_panels_do_not_clash(draw, panels):
    suite, figures = draw(strategies=("er", "simo"), seeds=(0, 1), sample=5)
    ids = []
    for name in ("accuracy", "geometry_features", "confusion"):
        for root in panels(suite, figures[name]):
            own = [e.get("id") for e in root.iter() if e.get("id")]
            values = [value for e in root.iter() for value in e.attrib.values()]
            links = {value[1:] for value in values if value.startswith("#")}
            links |= {link for value in values for link in re.findall(r"url\(#(.+?)\)", value)}
            assert links == set(own)
            ids += own
    assert len(ids) == len(set(ids))


def test_labels_move_apart_as_little_as_can_be():
    assert spread_labels([0.0, 10.0, 5.0], 1.0) == [0.0, 10.0, 5.0]
    assert spread_labels([5.0, 5.0], 1.0) == pytest.approx([4.5, 5.5])
    placed = spread_labels([0.1, 0.0, 0.2, 9.0], 1.0)
    assert placed == pytest.approx([0.1, -0.9, 1.1, 9.0])
    assert spread_labels([], 1.0) == []


def test_labels_stay_within_bounds_where_there_is_room():
    assert spread_labels([9.9, 10.0, 9.8], 1.0, 0.0, 10.0) == pytest.approx([9.0, 10.0, 8.0])
    assert spread_labels([0.0, 0.1, 5.0], 1.0, 0.0, 10.0) == pytest.approx([0.0, 1.0, 5.0])


@pytest.mark.parametrize("seed", range(5))
def test_spread_labels_keep_their_order_and_distance(seed):
    positions = np.random.default_rng(seed).uniform(0, 10, 14)
    placed = np.array(spread_labels(list(positions), 0.8))
    order = np.argsort(positions)
    assert (np.diff(placed[order]) >= 0.8 - 1e-9).all()


def test_a_figure_holds_what_it_draws_and_no_suite(make_suite):
    """It is drawn again when what it holds has changed, in whatever run that is."""
    suite = load_suite(make_suite(strategies=("joint", "er", "simo"), seeds=(0, 1), sample=4))
    for figure in suite_figures(suite):
        held = cloudpickle.dumps(figure)
        for module in (b"suite", b"run", b"history"):
            assert b"simo_cl.results." + module not in held, figure.name
