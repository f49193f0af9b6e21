from __future__ import annotations

import matplotlib
import pytest
from matplotlib.figure import Figure

from simo_cl.report.drawing import STYLE
from simo_cl.report.figures import suite_figures
from simo_cl.report.figures.sweeps import swept
from simo_cl.report.optimum import best_cosine, class_cosine, optimum_of
from simo_cl.results import load_suite

MEMORY = ("memory.size=1000", "memory.size=200", "memory.size=500")


@pytest.fixture
def swept_suite(make_suite):
    def make(*variants: str, strategies=("simo",)):
        return load_suite(make_suite(strategies=strategies, variants=variants, sample=4))

    return make


def figure_of(suite, name):
    figures = {f.name: f for f in suite_figures(suite)}
    return figures.get(name)


def drawn(panel):
    """A panel's axes as they are drawn."""
    with matplotlib.rc_context(STYLE):
        ax = Figure().add_subplot()
        panel.draw(ax)
    return ax


def test_a_line_joins_rows_that_differ_in_one_setting(swept_suite):
    suite = swept_suite(*MEMORY, strategies=("er", "simo"))
    er, simo = swept(suite, "memory.size")
    assert er.name == "er"
    assert er.rows == (
        (200, "er[memory.size=200]"),
        (500, "er[memory.size=500]"),
        (1000, "er[memory.size=1000]"),
    )
    assert simo.strategy == "simo"


def test_the_kernel_form_asks_for_minus_its_bias_and_has_no_pairwise_forces(swept_suite):
    kernel = "form=kernel,bias=0.2"
    suite = swept_suite(f"epsilon=0.1,{kernel}", f"epsilon=0.5,{kernel}")
    assert [optimum_of(suite, label) for label in suite.finished_labels] == [-0.2, -0.2]
    assert figure_of(suite, "forces") is None


def test_crossed_settings_make_a_line_for_every_value_of_the_other(swept_suite):
    suite = swept_suite(
        "epsilon=0.1,leaning=0.0",
        "epsilon=0.5,leaning=0.0",
        "epsilon=0.1,leaning=0.1",
        "epsilon=0.5,leaning=0.1",
    )
    assert [s.name for s in swept(suite, "epsilon")] == ["simo[leaning=0.0]", "simo[leaning=0.1]"]
    assert [s.name for s in swept(suite, "leaning")] == ["simo[epsilon=0.1]", "simo[epsilon=0.5]"]


def test_what_is_no_number_or_has_one_value_is_no_sweep(swept_suite):
    suite = swept_suite("views=1,normalize=true", "views=1,normalize=false")
    assert swept(suite, "normalize") == swept(suite, "views") == ()
    assert figure_of(suite, "sweep_views") is None


def test_memory_is_drawn_against_accuracy_and_time(swept_suite, panels):
    suite = swept_suite(*MEMORY, strategies=("er", "simo"))
    figure = figure_of(suite, "sweep_memory_size")
    assert [panel.alternative.partition(" against")[0] for panel in figure.panels] == [
        "average accuracy",
        "forgetting",
        "minutes of training",
    ]
    ax = drawn(figure.panels[0])
    assert ax.get_xlabel() == "images in the memory"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["200", "500", "1,000"]
    marked = {element.get("data-series") for element in panels(suite, figure)[0].iter()}
    assert "simo[memory.size=200]" in marked


def test_leaning_has_the_optimum_beside_the_measured_cosine(swept_suite):
    suite = swept_suite("leaning=0.0", "leaning=0.01", "leaning=0.1")
    figure = figure_of(suite, "sweep_leaning")
    (panel,) = (p for p in figure.panels if p.alternative.startswith("cosine of class means"))
    lines = [line.get_xydata().tolist() for line in drawn(panel).get_lines()]
    assert [[x, pytest.approx(best_cosine(0.1, x))] for x in (0.0, 0.01, 0.1)] in lines
    measured = class_cosine(suite, "simo[leaning=0.1]")
    assert f"{measured.mean:.3g} at 0.1" in panel.alternative


def test_dimensions_have_the_bounds_beside_coherence_and_root_mean_square(swept_suite):
    figure = figure_of(swept_suite("dimension=2", "dimension=16"), "sweep_dimension")
    panels = {p.alternative.partition(" against")[0]: p for p in figure.panels}
    for title, least in (("largest |cos|", 0.951057), ("root mean square cos", 2 / 3)):
        lines = [line.get_xydata().tolist() for line in drawn(panels[title]).get_lines()]
        assert [[2.0, pytest.approx(least, abs=1e-6)], [16.0, 0.0]] in lines, title


def test_the_measured_cosine_needs_every_seed(swept_suite):
    suite = swept_suite("leaning=0.0", "leaning=0.1", strategies=("er",))
    assert class_cosine(suite, "er[leaning=0.0]") is None
