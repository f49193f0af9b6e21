"""What a store shows of an experiment, without the identifiers that MLflow draws."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

IDENTIFIERS = ("mlflow.parentRunId", "mlflow.simo_cl.origin")


def shown(uri: str, experiment: str = "tiny") -> dict[str, dict[str, Any]]:
    """Each run by name, with its parameters, every metric ever logged, its tags, the names of its
    files and of its models, and its place under another. Two runs of one name are an error."""
    client = MlflowClient(uri)
    identifier = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([identifier], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(names), sorted(names.values())
    models = client.search_logged_models([identifier])
    return {
        run.info.run_name: {
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "parameters": run.data.params,
            "metrics": {name: _history(client, run, name) for name in run.data.metrics},
            "tags": {n: _plain(t) for n, t in run.data.tags.items() if n not in IDENTIFIERS},
            "files": sorted(_files(client, run.info.run_id)),
            "models": sorted(
                (m.name, str(m.status)) for m in models if m.source_run_id == run.info.run_id
            ),
        }
        for run in runs
    }


def _history(client: MlflowClient, run: Run, name: str) -> list[tuple[int, int, float]]:
    rows = client.get_metric_history(run.info.run_id, name)
    return sorted((row.step, row.timestamp, row.value) for row in rows)


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    for file in client.list_artifacts(run_id, folder):
        if file.is_dir:
            yield from _files(client, run_id, file.path)
        else:
            yield file.path


def _plain(text: str) -> str:
    return re.sub(r"m-[0-9a-f]{32}|\b[0-9a-f]{32}\b", "ID", text)
