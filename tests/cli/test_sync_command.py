from __future__ import annotations

import json

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
    assert "shows 1 runs of 1 strategies; 2 entries were new or had changed" in done.output
    assert "0 entries were new or had changed" in again.output
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
