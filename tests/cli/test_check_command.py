from __future__ import annotations

import pytest
from project import RAISES, Project
from tiny import ROOT

from simo_cl.report.figures import FIGURES

STRATEGY = '''"""Mine."""

from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.supervised import Naive

PROTOCOLS = ("batch",)


class Counter(SupervisedPlugin):
    count = 0

    def before_training_iteration(self, strategy, **kwargs):
        self.count += 1
        for group in strategy.optimizer.param_groups:
            group["lr"] = 1e-3 * self.count
    STATE


def build(setup, settings):
    WRONG
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, plugins=[setup.budget(), Counter()])
'''
REMEMBERS = """
    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]
"""
FORGETS = """
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""
PARTS = """
import torch
from torch import nn

from simo_cl import register
from simo_cl.streams import DataSet, Images


@register.data_source("drawn", description="noise", how_to_get="It is drawn.")
def load(root):
    labels = torch.arange(80) % 4
    images = torch.randint(0, 256, (80, 3, 8, 8), dtype=torch.uint8)
    both = Images(images, labels)
    return DataSet("drawn", both, both, tuple("abcd"), "drawn")


@register.encoder("flat")
def flat(channels, width, norm):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, width)), width


@register.metric("spread", of="embeddings", meaning="Spread.", unit="0..")
def spread(points, labels):
    return points.std() RESULT


@register.read_out("first", meaning="The first class.", fitted_on="oracle")
def first(train_x, train_y, x):
    return train_y[:1].expand(len(x)).numpy()


@register.figure("rows", title="Rows", caption="All.")
def rows(suite, axes):
    axes.plot(suite.values(suite.finished_labels[0], DRAWN)[0], "o")
"""
PATCHES = """
from torch import nn

from simo_cl import register


@register.encoder("patches")
def patches(channels, width, norm):
    assert width % 16 == 0, "Input shape indivisible by patch size!"
    cut = nn.Conv2d(3, 4, kernel_size=4, stride=4)
    return nn.Sequential(cut, nn.Flatten(), nn.Linear(4 * 8 * 8, width)), width
"""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIGURES, "_parts", {})


def strategy(
    project: Project, state: str = REMEMBERS, wrong: str = "pass", name: str = "mine"
) -> list[str]:
    """What the check says of a strategy, line by line, and how it ends."""
    path = project.strategies / f"{name}.py"
    path.write_text(STRATEGY.replace("    STATE", state).replace("WRONG", wrong))
    result = project.call("check", path)
    return [*result.output.splitlines(), f"exit {result.exit_code}"]


def parts(project: Project, result: str = "", drawn: str = "'average_accuracy'") -> list[str]:
    path = project.suites.parent / "mine.py"
    path.write_text(PARTS.replace("RESULT", result).replace("DRAWN", drawn))
    said = project.call("check", path)
    return [*said.output.splitlines(), f"exit {said.exit_code}"]


def test_a_strategy_that_does_all_it_must(project: Project) -> None:
    said = strategy(project, name="my own 0.1")

    assert said[-2:] == ["All of it works.", "exit 0"]
    assert "SEARCH_SPACE" not in "".join(said)  # it has none
    assert "   ok  strategy my own 0.1, batch: gives the same after an interruption" in said


def test_a_strategy_that_cannot_be_built_is_shown_with_its_line(project: Project) -> None:
    said = strategy(project, wrong="setup.no_such_thing()")

    assert said[-1] == "exit 1"
    fails = said.index("fails  strategy mine, batch: builds, trains two experiences and evaluates")
    assert "no_such_thing" in said[fails + 1]
    assert "mine.py, line" in "".join(said[fails + 1 : fails + 3])


def test_a_build_that_gives_a_model_is_named(project: Project) -> None:
    said = strategy(project, wrong="return setup.classifier()")

    assert said[-1] == "exit 1"
    text = "\n".join(said)
    assert f"build() of {project.strategies / 'mine.py'} gave a Classifier; it must give" in text
    assert "plugins" not in text


def test_a_misspelt_build_is_no_part_that_works(project: Project) -> None:
    path = project.strategies / "mine.py"
    path.write_text(RAISES.replace("def build", "def bild"))

    result = project.call("check", path)

    assert result.exit_code == 2
    assert "registers nothing" in result.output
    assert "build(setup, settings)" in result.output
    assert "All of it works" not in result.output


def test_what_a_strategy_forgets_is_found(project: Project) -> None:
    said = strategy(project, FORGETS)

    assert "fails  strategy mine, batch: gives the same after an interruption" in said
    assert said[-1] == "exit 1"


def test_parts_that_do_all_they_must(project: Project) -> None:
    said = parts(project)

    for part in (
        "data source drawn: gives finite numbers",
        "encoder flat: gives finite numbers",
        "metric spread: is a finite number",
        "read-out first: classifies",
        "figure rows: is drawn",
    ):
        assert f"   ok  {part}" in said
    assert said[-1] == "exit 0"


def test_an_encoder_is_tried_on_images_that_it_takes(project: Project) -> None:
    path = project.suites.parent / "patches.py"
    path.write_text(PATCHES)

    said = project.call("check", path)

    assert said.exit_code == 0, said.output
    assert (
        "   ok  encoder patches: is built, for colour noise of 32 x 32 pixels, with width 32\n"
        "   ok  encoder patches: builds, trains two experiences and evaluates\n"
    ) in said.output


def test_of_an_encoder_that_takes_no_images_its_own_file_is_named(project: Project) -> None:
    path = project.suites.parent / "patches.py"
    figure = '@register.figure("rows", title="Rows", caption="All.")\ndef rows(suite, axes): pass\n'
    path.write_text(PATCHES.replace("8 * 8", "9 * 9") + figure)

    said = project.call("check", path)

    assert said.exit_code == 1
    assert f"{path}: model.encoder is 'patches', which cannot embed the images of" in said.output
    assert "which cannot embed the images of colour noise of 32 x 32 pixels (3 x 32" in said.output
    assert "finetune.py" not in said.output
    assert "figure rows" not in said.output  # there are no results to draw it of


def test_parts_that_fail_are_named(project: Project) -> None:
    said = parts(project, "* float('nan')", "'no_metric'")

    assert "fails  metric spread: is a finite number" in said
    assert "fails  figure rows: is drawn" in said
    assert "   ok  read-out first: classifies" in said
    assert said[-1] == "exit 1"


def test_a_file_that_is_not_there_is_named(project: Project) -> None:
    result = project.call("check", ROOT / "no_such.py")

    assert result.exit_code == 2
    assert "no_such.py: no such file" in result.output


def test_a_folder_for_data_that_is_not_there_is_named(project: Project) -> None:
    result = project.call("check", __file__, "--data-root", "nowhere")

    assert result.exit_code == 2
    assert "--data-root nowhere: there is no folder" in result.output
