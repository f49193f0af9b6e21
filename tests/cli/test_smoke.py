from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from project import Project
from tiny import ONLINE, STRATEGIES, write_suite

from simo_cl.harness.anytime import AnytimeAccuracy

CANNOT_GO_ON = '''"""It cannot take over what it remembered."""

from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.supervised import Naive


class Forgetful(SupervisedPlugin):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        raise KeyError("count")


def build(setup, settings):
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, plugins=[setup.budget(), Forgetful()])
'''


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def rows(output: str, mark: str) -> list[str]:
    return re.findall(rf"^ *{mark}  ([^ :]+)", output, re.MULTILINE)


def test_strategies_that_work_leave_nothing(project: Project, temporary: Path) -> None:
    result = project.call("run", project.suite("er", "simo"), "--smoke", "--seeds", "0,1")

    assert result.exit_code == 0
    assert rows(result.output, "ok") == ["er", "simo"]
    assert "All of them work." in result.output
    assert not project.results.exists()
    assert list(temporary.iterdir()) == []


def test_each_strategy_that_fails_is_named_and_its_log_is_left(
    project: Project, temporary: Path
) -> None:
    (project.strategies / "cannot_go_on.py").write_text(CANNOT_GO_ON)
    suite = project.suite("raises", "diverges", "cannot_go_on", "finetune")

    result = project.call("run", suite, "--smoke")

    assert result.exit_code == 1
    assert rows(result.output, "fails") == ["raises", "diverges", "cannot_go_on"]
    assert rows(result.output, "ok") == ["finetune"]
    assert "raises: RuntimeError: no such luck" in result.output
    (folder,) = temporary.iterdir()
    assert f"left in {folder}" in result.output
    logs = re.findall(r"\(traceback in (\S+)\)", result.output)
    assert len(logs) == 3
    assert all("Traceback" in Path(log).read_text() for log in logs)


def test_each_value_of_a_grid_is_tried(project: Project) -> None:
    suite = project.suite("er")
    grid = "grid: {memory.size: [20, 40], training.batch_size: [16, 32]}\n"
    suite.write_text(suite.read_text() + grid)

    result = project.call("run", suite, "--smoke")

    assert rows(result.output, "ok") == [
        "er[memory.size=20,training.batch_size=16]",
        "er[memory.size=20,training.batch_size=32]",
        "er[memory.size=40,training.batch_size=16]",
    ]


def test_an_online_suite_and_a_joint_entry_are_tried(project: Project) -> None:
    entries = "strategies: {supcon: {replay_batch_size: 40}, joint: , mir: }\n"
    suite = write_suite(project.suites, ONLINE + entries)

    result = project.call("run", suite, "--smoke", "--strategies-dir", STRATEGIES)

    assert rows(result.output, "ok") == ["supcon", "joint", "mir"]


def test_accuracy_is_measured_within_experiences_where_the_suite_has_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    measure = AnytimeAccuracy._measure

    def note(self: AnytimeAccuracy, strategy: Any, index: int) -> None:
        measured.append(self._budget.steps_taken)
        measure(self, strategy, index)

    monkeypatch.setattr(AnytimeAccuracy, "_measure", note)
    every = ONLINE.replace("samples_per_class: 4", "samples_per_class: 4, every: 50")
    assert every != ONLINE
    suite = write_suite(project.suites, every + "strategies: {er: }\n")

    result = project.call("run", suite, "--smoke", "--strategies-dir", STRATEGIES)

    assert rows(result.output, "ok") == ["er"]
    # After the first of the two batches of an experience.
    assert 1 in measured


@pytest.mark.parametrize(
    ("other", "message"),
    [(("--dry-run",), "give one of them"), (("--ray", "auto"), "leave --ray out")],
)
def test_what_it_does_not_go_with_is_refused(
    project: Project, other: tuple[str, ...], message: str
) -> None:
    result = project.call("run", project.suite("er"), "--smoke", *other)

    assert result.exit_code == 2
    assert message in result.output
