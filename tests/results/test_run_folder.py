from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny import planned

from simo_cl.results import DataRecord, RunFolder, examine
from simo_cl.streams import load_data


@pytest.fixture
def run(tmp_path: Path) -> Any:
    (run,) = planned(tmp_path, "strategies: {er: {lr: 0.1}}\ngrid: {memory.size: [40]}\n")
    return run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def status(folder: RunFolder) -> dict[str, Any]:
    return dict(json.loads((folder.path / "status.json").read_text()))


def failure() -> Exception:
    try:
        raise RuntimeError("no such luck")
    except RuntimeError as error:
        return error


def test_a_run_starts_and_finishes(folder: RunFolder, run: Any) -> None:
    assert folder.state == "missing"
    folder.start(run.config, DataRecord.of(load_data("digits")), {"cores": 2})
    assert folder.state == "running"
    folder.add_metrics(0, {"average_accuracy": 0.25})
    folder.add_metrics(1, {"average_accuracy": 0.5})
    folder.write_arrays("arrays", {"confusion": np.eye(2)})
    folder.finish()

    assert folder.state == "finished"
    assert status(folder)["environment"] == {"cores": 2}
    assert status(folder)["started"] <= status(folder)["ended"]
    assert status(folder)["error"] is None
    assert folder.last_metrics() == {"average_accuracy": 0.5}
    assert np.load(folder.path / "arrays.npz")["confusion"].tolist() == [[1, 0], [0, 1]]


def test_the_settings_are_written_as_they_were_resolved(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {})

    config = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert config == {**run.settings.model_dump(mode="json"), "variant": "memory.size=40"}
    assert config["settings"] == {"lr": 0.1}
    assert config["memory"] == {"size": 40}


def test_a_failure_keeps_what_was_measured(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {"cores": 2})
    folder.add_metrics(0, {"average_accuracy": 0.25})
    folder.fail(failure())

    assert folder.state == "failed"
    assert folder.last_metrics() == {"average_accuracy": 0.25}
    error = status(folder)["error"]
    assert (error["type"], error["message"]) == ("RuntimeError", "no such luck")
    assert "in failure" in error["traceback"]
    assert "in failure" in (folder.path / "log.txt").read_text()
    assert status(folder)["environment"] == {"cores": 2}


def test_a_run_can_fail_before_it_starts(folder: RunFolder) -> None:
    folder.fail(failure())

    assert folder.state == "failed"


def test_another_attempt_begins_anew_but_keeps_the_log(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    folder.add_metrics(0, {"average_accuracy": 0.25})
    folder.write_arrays("arrays", {"confusion": np.eye(2)})
    folder.fail(failure())
    folder.start(run.config, DataRecord.of(load_data("digits")), {})

    assert folder.state == "running"
    assert status(folder)["error"] is None
    assert (folder.path / "metrics.jsonl").read_text() == ""
    assert not (folder.path / "arrays.npz").exists()
    assert "no such luck" in (folder.path / "log.txt").read_text()


def test_half_a_status_is_damage(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    (folder.path / "status.json").write_text('{"state": "fini')

    state, damage, _ = examine(folder.path)
    assert state == "broken"
    assert damage.startswith("status.json cannot be read: ")


def test_nothing_is_left_half_written(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    folder.write_arrays("embeddings", {"test_labels": np.arange(3)})
    folder.finish()

    assert not list(folder.path.glob("*partial*"))


def test_values_that_json_does_not_have_are_left_out_and_named(folder: RunFolder, run: Any) -> None:
    folder.start(run.config, DataRecord.of(load_data("digits")), {})
    values = {"good": 1.0, "drift": float("nan"), "train/loss": float("inf")}
    message = "not in metrics.jsonl after experience 3: drift is nan, train/loss is inf"
    with pytest.warns(UserWarning, match=message):
        folder.add_metrics(3, values)
    (line,) = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == {"good": 1.0}
    assert message in (folder.path / "log.txt").read_text()


def test_a_status_out_of_reach_for_now_breaks_no_finished_run(
    folder: RunFolder, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.start(run.config, DataRecord(), {})
    folder.finish()

    def too_many_files(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many_files)
        with pytest.raises(OSError, match="Too many open files"):
            assert folder.state == "finished"

    assert folder.state == "finished"
