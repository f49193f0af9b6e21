from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import planned, write_suite

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_suite import execute_runs, write_plan
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import load_data

STRATEGY = '''"""Each of its builds does what the test says."""

import warnings

from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings

SEARCH_SPACE = {}


class Settings(StrategySettings):
    do: str = "pass"


def build(setup, settings):
    exec(settings.do)
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, plugins=BUDGET)
'''


def runs_of(folder: Path, do: list[str], budget: str = "[setup.budget()]") -> list[Any]:
    write_suite(folder / "own", STRATEGY.replace("BUDGET", budget), "own.py")
    more = f"strategies: {{own: }}\ngrid: {{own@do: {json.dumps(do)}}}\n"
    return planned(folder, more, ("training.epochs=0.01",), strategies=folder / "own")


def test_what_is_finished_is_not_run_again_and_what_failed_is(execute: Any, tmp_path: Path) -> None:
    runs = runs_of(tmp_path, ["pass", "1 // 0"])
    folders = [RunFolder(tmp_path / run.folder) for run in runs]

    for _ in range(2):
        failed = execute(runs, tmp_path)
        assert list(failed) == ["own[do=1 ~2F~2F 0], seed 0"]
        assert "ZeroDivisionError" in failed["own[do=1 ~2F~2F 0], seed 0"]
        assert [folder.state for folder in folders] == ["finished", "failed"]
    begun = [(folder.path / "log.txt").read_text().count("steps on cpu") for folder in folders]
    assert begun[0] == 1


def test_failures_are_listed_in_the_order_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_backwards(
        runs: list[PlannedRun], *_: Any, listener: Callable[..., None], **__: Any
    ) -> None:
        for run in reversed(runs):
            listener(run, "ended", f"{run.name} had no luck")

    monkeypatch.setattr("simo_cl.harness.execute_suite.execute_in_workers", end_backwards)
    runs = planned(tmp_path, "strategies: {er: , simo: }\nseeds: [0, 1]\n")
    with SuiteProgress(Console(quiet=True)) as progress:
        failed = execute_runs(
            runs,
            tmp_path,
            data=load_data("digits"),
            device=torch.device("cpu"),
            progress=progress,
            jobs=2,
        )

    assert list(failed.items()) == [(run.name, f"{run.name} had no luck") for run in runs]


def test_a_run_that_was_cut_short_begins_anew(execute: Any, tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, ["pass"])
    folder = RunFolder(tmp_path / run.folder)
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    folder.add_metrics(0, {"average_accuracy": 0.5})
    folder.add_metrics(1, {"average_accuracy": 0.5})
    assert folder.state == "running"

    execute([run], tmp_path)

    assert folder.state == "finished"
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["experience"] for line in lines] == [0, 1]


def test_a_strategy_without_a_step_budget_fails_with_the_remedy(
    execute: Any, tmp_path: Path
) -> None:
    (reason,) = execute(runs_of(tmp_path, ["pass"], budget="[]"), tmp_path).values()

    assert "put setup.budget() among its plugins" in reason


def test_warnings_are_in_the_log_and_shown_once(execute: Any, tmp_path: Path, capsys: Any) -> None:
    warn = "warnings.warn_explicit('beware', UserWarning, 'lib.py', 1)"
    deprecated = "warnings.warn_explicit('old', DeprecationWarning, 'lib.py', 1)"
    runs = runs_of(tmp_path, [f"{warn}; {warn}", deprecated])

    execute(runs, tmp_path, quiet=False)

    shown = capsys.readouterr().out
    assert shown.count("Warning: UserWarning: beware") == 1
    assert "Warning: DeprecationWarning" not in shown
    logs = [(tmp_path / run.folder / "log.txt").read_text() for run in runs]
    assert "UserWarning: beware" in logs[0]
    assert "DeprecationWarning: old" in logs[1]


def test_the_plan_names_the_suite_its_data_and_its_runs(tmp_path: Path) -> None:
    rows = "strategies: {er: , small: {strategy: er}}\n"
    runs = planned(tmp_path, f"{rows}seeds: [0, 1]\ndescription: Two.\ncontrol: er\n")
    suite = read_suite(tmp_path / "tiny.yaml").suite

    write_plan(tmp_path / "results", suite, runs, command="simo-cl run", data=load_data("digits"))

    plan = json.loads((tmp_path / "results" / "plan.json").read_text())
    assert plan.pop("version")
    assert plan == {
        "schema": 1,
        "suite": "tiny",
        "description": "Two.",
        "control": "er",
        "data": "scikit-learn digits",
        "class_names": [str(digit) for digit in range(10)],
        "command": "simo-cl run",
        "runs": [
            {
                "strategy": entry,
                "built_by": "er",
                "variant": "",
                "seed": run.settings.seed,
                "folder": run.folder.as_posix(),
            }
            for run, entry in zip(runs, ("er", "small", "er", "small"), strict=True)
        ],
    }


def test_every_point_of_a_grid_is_checked_against_the_data(tmp_path: Path) -> None:
    runs = planned(tmp_path, "strategies: {er: }\ngrid: {memory.size: [40, 9]}\n")

    with pytest.raises(ValueError, match=r"tiny\.yaml:\d+: memory\.size is 9; digits has 10"):
        checked_data(runs, None)
