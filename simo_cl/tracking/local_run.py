"""A run in a folder, from which it is sent to MLflow: by its logger, or later."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from simo_cl.results import write_atomically
from simo_cl.tracking import store
from simo_cl.tracking.mlflow_run import log_data, log_files, set_state
from simo_cl.tracking.store import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class RunSettings:
    """What a run is begun with, or gone on with.

    Attributes:
        experiment: its name; made if it is missing.
        run_name: None for one that MLflow invents.
        run_id: MLflow's identifier of a run to go on with, which has its experiment and name.
    """

    experiment: str
    run_name: str | None
    parameters: dict[str, str]
    tags: dict[str, str]
    run_id: str | None = None

    def begin(self, client: MlflowClient) -> str:
        """Begins it, or goes on with it in whatever state it is; gives MLflow's identifier."""
        from mlflow.tracking.context.registry import resolve_tags

        if self.run_id is not None:
            log_data(client, self.run_id, parameters=self.parameters, tags=self.tags)
            return self.run_id
        experiment = store.experiment_id(client, self.experiment)
        run = client.create_run(experiment, tags=resolve_tags(self.tags), run_name=self.run_name)
        log_data(client, run.info.run_id, parameters=self.parameters)
        return str(run.info.run_id)


@dataclass(frozen=True)
class File:
    """An artifact; `path` is its place among the run's."""

    path: str
    content: bytes


class LocalRun:
    """Numbers and files of a run, in a folder, for any thread.

    Args:
        folder: with what is there already.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        # The end of a process may come in the middle of anything: hence reentrant.
        self._lock = threading.RLock()
        self._rows = (folder / "metrics.jsonl").open("a+", encoding="utf-8", buffering=1)
        self._sent = self._read = 0  # up to where

    @classmethod
    def begin(cls, run: RunSettings) -> LocalRun:
        """A new one, in the working folder or, where nothing can be written there, among the
        system's temporary files."""
        place = "." if os.access(".", os.W_OK) else None
        local = cls(Path(tempfile.mkdtemp(prefix="mlflow-unsent-", dir=place)).resolve())
        local.write_settings(run, "KILLED")  # what a process leaves that ends without a word
        return local

    def write_settings(self, run: RunSettings, status: str | None) -> None:
        """Replaces what MLflow must be told of the run besides numbers and files.

        Args:
            run: with MLflow's identifier if it has been begun.
            status: in which it ends, as MLflow calls it; None for a run that somebody else ends.
        """
        text = json.dumps({**asdict(run), "status": status})
        write_atomically(self.folder / "run.json", text)

    def settings(self) -> tuple[RunSettings, str | None]:
        """What was written last."""
        kept = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        status = kept.pop("status")
        return RunSettings(**kept), status

    def add(self, item: Metric | File) -> None:
        """Adds a number, or adds or replaces a file."""
        with self._lock:
            if isinstance(item, File):
                path = self.artifacts / item.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(item.content)
            else:
                row = {n: getattr(item, n) for n in ("key", "value", "timestamp", "step")}
                self._rows.write(json.dumps(row) + "\n")

    def metrics(self) -> list[Metric]:
        """The numbers that are there, in the order in which they came."""
        with self._lock:
            self._rows.seek(self._sent)
            rows = self._rows.readlines()
            self._read = self._rows.tell()
        return [Metric(**json.loads(row)) for row in rows]

    def remove_metrics(self) -> None:
        """Removes those that were read last."""
        with self._lock:
            self._sent = self._read
            # Not before all can go: what came meanwhile must be there whenever the process ends.
            if self._sent == self._rows.seek(0, os.SEEK_END):
                self._rows.truncate(0)
                self._sent = 0

    def files(self) -> dict[Path, int]:
        """All files that are there, and when each was written."""
        with self._lock:
            found = sorted(path for path in self.artifacts.rglob("*") if path.is_file())
            return {path: path.stat().st_mtime_ns for path in found}

    def remove_file(self, path: Path, written: int) -> None:
        """Removes a file, unless it has been replaced."""
        with self._lock:
            if path.stat().st_mtime_ns == written:
                path.unlink()

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        self._rows.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def send_kept(folder: str | Path, tracking_uri: str) -> str:
    """Sends what an `MLflowLogger` kept in a folder because its server did not answer.

    Args:
        folder: the folder that the logger's warning named.
        tracking_uri: the MLflow store to send to.

    Returns:
        The MLflow run's identifier: the run that had been begun, else a new one. It ends as the
        logger ended it; a run that is somebody else's to end stays as it is.

    Raises:
        TrackingError: the store cannot be used, or the place of its files: then the numbers have
            been sent.
    """
    local = LocalRun(Path(folder))
    run, status = local.settings()
    client = store.open_client(tracking_uri)
    with store.tracking_errors(tracking_uri):
        run_id = run.begin(client)
        # So that the same call, once more, begins no second run.
        local.write_settings(replace(run, run_id=run_id), status)
        log_data(client, run_id, metrics=local.metrics())
        if status is not None:
            set_state(client, run_id, status)
    try:
        log_files(client, run_id, local.artifacts)
    except store.FilesError as error:
        raise TrackingError(
            f"the numbers and the state of run {run_id} are in MLflow, but the place of its files "
            f"cannot be used: {error}\nThey stay in {local.artifacts}; once it can be used, the "
            "same call sends them"
        ) from error
    return run_id
