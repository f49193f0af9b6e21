from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_suite import MakeSuite

from simo_cl.results import NewerSchemaError, RunFolder, RunStatus, load_suite, read_status


@pytest.fixture
def suite(make_suite: MakeSuite) -> Path:
    return make_suite(strategies=("simo",), seeds=(0,), experiences=2, classes=4, sample=2)


def test_a_newer_schema_is_refused_by_name(suite: Path) -> None:
    (run,) = suite.glob("runs/simo/seed0-*")
    for path in (run / "status.json", suite / "plan.json"):
        whole = path.read_text()
        path.write_text(json.dumps({**json.loads(whole), "schema": 2, "state": "new"}))
        message = rf"{path.name} has schema 2, of a newer simo-cl.*Upgrade"
        with pytest.raises(NewerSchemaError, match=message):
            load_suite(suite)
        path.write_text(whole)
    assert len(load_suite(suite).finished_runs) == 1


def test_a_newer_run_is_not_executed_again(suite: Path) -> None:
    (run,) = suite.glob("runs/simo/seed0-*")
    (run / "status.json").write_text('{"schema": 2}')
    with pytest.raises(NewerSchemaError):
        print(RunFolder(run).state)


def test_the_schema_is_written(tmp_path: Path) -> None:
    RunStatus(state="running").write(tmp_path / "status.json")
    assert json.loads((tmp_path / "status.json").read_text())["schema"] == 1
    assert read_status(tmp_path) == RunStatus(state="running")
