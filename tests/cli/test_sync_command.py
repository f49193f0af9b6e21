from __future__ import annotations

import json

import pytest
from project import DEAD_SERVER, Project


def test_what_mlflow_lacks_is_brought_there_by_sync(project: Project) -> None:
    from mlflow import MlflowClient

    suite = project.suite("finetune")
    behind = project.call("run", suite, "--tracking-uri", DEAD_SERVER)
    assert behind.exit_code == 0, behind.output

    refused = project.call("sync", suite, "--tracking-uri", DEAD_SERVER)
    done = project.call("sync", suite)
    again = project.call("sync", "tiny")

    assert refused.exit_code == 2
    assert f"Error: the MLflow server {DEAD_SERVER} does not answer" in refused.output
    assert "shows 1 run of 1 strategy. New or changed entries: 2; moved to its tr" in done.output
    assert "New or changed entries: 0;" in again.output
    client = MlflowClient(f"sqlite:///{project.results}/tiny/mlflow.db")
    identifier = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([identifier], "attributes.run_name = 'finetune seed 0 · tiny'")
    lines = (project.run_folder("tiny", "finetune") / "metrics.jsonl").read_text().splitlines()
    rows = client.get_metric_history(run.info.run_id, "average_accuracy")
    stored = [json.loads(line) for line in lines]
    assert [(row.step, row.timestamp, row.value) for row in rows] == [
        (line["experience"] + 1, int(line["time"] * 1000), line["metrics"]["average_accuracy"])
        for line in stored
    ]


@pytest.mark.parametrize("command", ["sync", "ui"])
def test_tables_without_the_folders_of_their_runs_are_not_shown(
    project: Project, command: str
) -> None:
    folder = project.results / "tiny"
    folder.mkdir(parents=True)
    entry = {"strategy": "er", "seed": 0, "folder": "runs/er/seed0"}
    (folder / "plan.json").write_text(json.dumps({"suite": "tiny", "runs": [entry]}))
    (folder / "runs.csv").write_text("strategy,seed\ner,0\n")

    result = project.call(command, "tiny")

    assert result.exit_code == 2
    assert "has the results of 1 run and none of their folders" in result.output
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "runs.csv"]


def test_what_was_found_before_a_store_failed_is_told_too(project: Project) -> None:
    folder = project.results / "tiny"
    run = folder / "runs" / "er" / "seed0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    (run / "status.json").write_text('{"state": ')
    entry = {"strategy": "er", "seed": 0, "folder": "runs/er/seed0"}
    (folder / "plan.json").write_text(json.dumps({"suite": "tiny", "runs": [entry]}))

    result = project.call("sync", "tiny", "--tracking-uri", DEAD_SERVER)

    assert result.exit_code == 2
    assert "Warning: runs/er/seed0: left out, status.json cannot be read: " in result.output
    assert f"Error: the MLflow server {DEAD_SERVER} does not answer" in result.output
