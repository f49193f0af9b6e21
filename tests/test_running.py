from __future__ import annotations

import io
import json
from multiprocessing import current_process
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny import SETTINGS, STRATEGIES, write_suite

import simo_cl
from simo_cl.harness.suite_file import SuiteError, read_suite
from simo_cl.running import Request


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path, SETTINGS + "strategies: {finetune: , er: }\n")


def test_a_suite_is_run_and_its_results_given(suite: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    results = simo_cl.run_suite(
        suite,
        seeds=[3],
        strategies=["finetune"],
        jobs=1,
        overrides={"training.epochs": 0.1, "training.augment": ["crop"]},
        results=tmp_path / "results",
        strategies_dir=STRATEGIES,
        console=Console(file=said, width=100),
    )

    (run,) = results.runs.to_dict("records")
    assert (run["strategy"], run["seed"], run["state"]) == ("finetune", 3, "finished")
    assert (run["training.epochs"], run["training.augment"]) == (0.1, ["crop"])
    assert results.problems == {}
    folder = tmp_path / "results" / "tiny"
    assert (folder / "report.html").is_file()
    assert (folder / "mlflow.db").is_file()
    assert f"Report: {folder / 'report.html'}" in said.getvalue()
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["command"].startswith(
        f"simo-cl run {suite} --seeds 3 --strategies finetune --jobs 1"
    )
    assert simo_cl.load_results(folder).runs.equals(results.runs)


def test_the_command_line_of_a_request_asks_for_the_same() -> None:
    request = Request(
        "a suite.yaml",
        seeds=(0, 1),
        jobs=2,
        overrides={"training.augment": ["crop"], "simo@epsilon": 0.2},
        tracking_uri="http://me:secret@host",
        replace=True,
    )
    line = request.command_line()
    assert line.startswith("simo-cl run 'a suite.yaml' --seeds 0,1 --jobs 2 --set ")
    assert "'training.augment=[crop]' --set simo@epsilon=0.2 --tracking-uri" in line
    assert line.endswith(" --replace")
    assert "secret" not in line


def test_overrides_are_settings(suite: Path) -> None:
    request = Request(suite, overrides={"training.augment": ["crop"], "er@lr": 0.5, "name": "mine"})
    changed = read_suite(suite, request._settings()).suite
    assert changed.training.augment == ("crop",)
    assert changed.strategies["er"] == {"lr": 0.5}
    assert changed.name == "mine"


def test_overrides_of_numpy_and_of_the_grid_are_settings(suite: Path) -> None:
    request = Request(
        suite,
        seeds=np.arange(2),  # type: ignore[arg-type]
        overrides={
            "stream.class_order": np.arange(10)[::-1],
            "er@lr": 1e-5,
            "grid": {"memory.size": [20, 40]},
            "grid.er@lr": (0.1, "a: b"),
        },
    )
    changed = read_suite(suite, request._settings()).suite
    assert request.seeds == (0, 1)
    assert request.command_line().startswith(f"simo-cl run {suite} --seeds 0,1 --set ")
    assert changed.stream.class_order == tuple(range(9, -1, -1))
    assert changed.strategies["er"] == {"lr": 1e-5}
    assert changed.grid == {"memory.size": [20, 40], "er@lr": [0.1, "a: b"]}


def test_a_process_that_imports_the_user_s_script_again_runs_no_suite(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that the suite began: it would wait for its own end."""
    # Of multiprocessing, while it does that.
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SuiteError, match='under `if __name__ == "__main__":`'):
        simo_cl.run_suite(suite, results=tmp_path / "results", strategies_dir=STRATEGIES)
    assert not (tmp_path / "results").exists()


def test_validation_images_may_be_scored_with_a_seed_of_tuning(suite: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    request = Request(
        suite,
        seeds=(10**6,),
        strategies=["finetune"],
        overrides={"stream.validation": 0.2, "stream.evaluate_on": "validation"},
        results=tmp_path / "results",
        strategies_dir=STRATEGIES,
    )
    request.preview(Console(file=said, width=100))
    assert "trial with seed 0" in said.getvalue()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strategies": ["err"]}, SuiteError, "'err' is not in .*Did you mean 'er'"),
        ({"seeds": [1, 1]}, SuiteError, r"seeds are \[1, 1\]; give different whole numbers"),
        ({"seeds": []}, SuiteError, r"seeds are \[\]; give different whole numbers"),
        ({"seeds": [0.5]}, SuiteError, r"seeds are \[0\.5\]; give different whole numbers"),
        ({"seeds": "0,1"}, SuiteError, "seeds are '0,1'; give different whole numbers"),
        ({"seeds": 3}, SuiteError, "seeds are 3; give different whole numbers"),
        ({"seeds": [10**6]}, SuiteError, "--seeds: seeds has 1000000, and those .* of tuning"),
        ({"overrides": ["seeds=[1000000]"]}, SuiteError, "seeds has 1000000, and those from"),
        ({"overrides": {"description": {1}}}, SuiteError, r"overrides has \{1\}, which no suite"),
        ({"jobs": 0}, SuiteError, "jobs is 0; it is the number of runs at once, from 1 on"),
        ({"device": "gpu"}, SuiteError, "device 'gpu' is none that runs are for"),
        ({"strategies": []}, SuiteError, r"strategies is \[\]; give a list of texts"),
        (
            {"strategies": "er"},
            SuiteError,
            r"strategies is 'er'; give a list of texts, as \['er'\]",
        ),
        ({"overrides": "memory.size=9"}, SuiteError, "overrides is 'memory.size=9'; give a list"),
        ({"overrides": {"memory": {"size": 9}}}, SuiteError, "whole section.*as 'memory.size'"),
        ({"overrides": {"memory.size": np.int64(9)}}, SuiteError, "memory.size is 9; digits"),
        ({"overrides": {"memory.size": 9}}, SuiteError, "memory.size is 9; digits has 10 classes"),
        ({"ray_shared": True}, SuiteError, "name one with --ray"),
        ({"ray": "auto", "jobs": 2}, SuiteError, "takes neither --jobs nor --device"),
    ],
)
def test_what_cannot_start_is_explained_and_writes_nothing(
    options: dict[str, object], error: type[Exception], message: str, suite: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        simo_cl.run_suite(
            suite,
            results=tmp_path / "results",
            strategies_dir=STRATEGIES,
            **options,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "results").exists()
