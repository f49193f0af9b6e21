from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from simo_cl.harness.plugins import load_plugins
from simo_cl.metrics import over_seeds
from simo_cl.registry import Registry
from simo_cl.report import write_report
from simo_cl.report.figures import FIGURES
from simo_cl.report.figures.own import own_figure
from simo_cl.results import load_suite

MINE = """
from simo_cl import register

from _beside import WHERE


@register.figure("mine", title="Mine", caption="All at one place.", section="cost")
def draw(suite, axes):
    axes.append((suite.name, WHERE))
"""
TINY: Any = SimpleNamespace(name="tiny", finished_labels=("er",))


@pytest.fixture
def figure(tmp_path: Path) -> Any:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "_beside.py").write_text("WHERE = 5\n")
    load_plugins(tmp_path / "mine.py")
    return FIGURES["mine"](TINY)


def test_a_figure_has_what_its_file_says(figure: Any) -> None:
    assert (figure.name, figure.title, figure.section) == ("mine", "Mine", "cost")
    assert figure.panels[0].alternative == "Mine. All at one place."


MARKED = """
from simo_cl import register


@register.figure("marked", title="Marked", caption="A line.", section="cost")
def draw(suite, axes):
    axes.plot([0, 1])
"""


def test_a_figure_whose_file_is_not_given_is_named_and_its_picture_stays(
    tmp_path: Path, make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_suite(strategies=("er",), seeds=(0,), experiences=2, classes=4, sample=4)
    (tmp_path / "marked.py").write_text(MARKED)
    load_plugins(tmp_path / "marked.py")
    first = write_report(load_suite(folder))
    assert first.left_out == ()
    picture = (folder / "figures/marked.svg").read_bytes()
    others = {name: FIGURES[name] for name in FIGURES if name != "marked"}
    monkeypatch.setattr("simo_cl.report.figures.FIGURES", Registry("a figure", others))

    again = write_report(load_suite(folder))

    assert again.left_out == ("marked",)
    assert (folder / "figures/marked.svg").read_bytes() == picture
    page = again.page.read_text()
    assert "figure-marked" not in page
    assert "marked: the file that registers such a figure was not given" in page


def test_another_process_draws_it_without_the_file(figure: Any, tmp_path: Path) -> None:
    assert drawn_in_another_process(figure, tmp_path) == "[('tiny', 5)]\n"


def test_a_function_from_text_is_of_no_module_and_is_drawn_all_the_same(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec("WHERE = 5\ndef draw(suite, axes):\n    axes.append((suite.name, WHERE))\n", names)
    assert names["draw"].__module__ is None
    make = own_figure("mine", "Mine", "At one place.", "cost", names["draw"])

    figure = make(TINY)

    assert figure is not None
    assert drawn_in_another_process(figure, tmp_path) == "[('tiny', 5)]\n"


def drawn_in_another_process(figure: Any, tmp_path: Path) -> str:
    (tmp_path / "draw.pkl").write_bytes(cloudpickle.dumps(figure.panels[0].draw))
    code = "import pickle\ndrawn = []\npickle.load(open('draw.pkl', 'rb'))(drawn)\nprint(drawn)\n"

    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stderr
    return said.stdout


def test_a_function_of_the_library_is_pickled_by_its_name() -> None:
    """As one that draws in an example of the library: all of simo_cl by value cannot be pickled."""
    own_figure("mean", "Mean", "Of all.", "cost", over_seeds.spread)(TINY)
    assert "simo_cl" not in cloudpickle.list_registry_pickle_by_value()
