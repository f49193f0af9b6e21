"""Write to a run in an MLflow store: the one way there, for loggers, kept runs and suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# The most that MLflow takes in a call: of all, and of parameters and of tags.
_ITEMS_PER_CALL, _OTHERS_PER_CALL = 1000, 100


def log_data(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes any number of each, in as few calls as MLflow allows; the tags come last.

    Within a call, too: MLflow's stores write parameters, metrics and tags in this order.
    """
    from mlflow.entities import Param, RunTag

    first = [Param(*item) for item in (parameters or {}).items()]
    last = [RunTag(*item) for item in (tags or {}).items()]
    is_one_call = max(len(first), len(last)) <= _OTHERS_PER_CALL
    if not is_one_call or len(first) + len(metrics) + len(last) > _ITEMS_PER_CALL:
        # MLflow itself makes several calls of it, in which tags may precede numbers.
        client.log_batch(run_id, params=first, metrics=metrics)
        first, metrics = [], ()
    client.log_batch(run_id, params=first, metrics=metrics, tags=last)


def log_files(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Makes the files below a folder the run's artifacts of the same paths.

    One by one: MLflow's own way of logging a folder starts threads, which a process that is ending
    may not.

    Raises:
        FilesError: their place, which may be another than that of all else, cannot be used.
    """
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        log_file(client, run_id, file, folder)


def log_file(client: MlflowClient, run_id: str, file: Path, folder: Path) -> None:
    """Makes a file an artifact of the same path as it has in a folder.

    Raises:
        FilesError: its place cannot be used.
    """
    place = file.parent.relative_to(folder).as_posix()
    with store.file_errors():
        client.log_artifact(run_id, str(file), None if place == "." else place)
