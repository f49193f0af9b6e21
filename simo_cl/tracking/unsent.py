"""What could not be sent to an MLflow server: kept in a folder, and sent later."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from simo_cl.tracking import store
from simo_cl.tracking.run_items import End, File, Item, RunToBe, write_files
from simo_cl.tracking.store import TrackingError


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
    folder = Path(folder)
    kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    status = kept.pop("status")
    client = store.open_client(tracking_uri)
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    with store.tracking_errors(tracking_uri):
        run_id = RunToBe(**kept).begin(client)
        # So that the same call, once more, begins no second run.
        _write_run(folder, {**kept, "run_id": run_id, "status": status})
        store.log_all(client, run_id, metrics=[Metric(**row) for row in rows])
        if status is not None:
            client.set_terminated(run_id, status)
    artifacts = folder / "artifacts"
    try:
        if artifacts.is_dir():
            with store.file_errors():
                client.log_artifacts(run_id, str(artifacts))
    except store.FilesError as error:
        raise TrackingError(
            f"the numbers and the state of run {run_id} are in MLflow, but the place of its files "
            f"cannot be used: {error}\nThey stay in {artifacts}; once it can be used, the same "
            "call sends them"
        ) from error
    return run_id


class Unsent:
    """A new folder, in the working folder, of what could not be sent; for any thread.

    Args:
        run: that it belongs to.
        run_id: MLflow's identifier of it, if it had been begun.
    """

    def __init__(self, run: RunToBe, run_id: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-unsent-", dir=".")).resolve()
        # What a process leaves that ends without a word.
        self._run = {**asdict(replace(run, run_id=run_id)), "status": "KILLED"}
        # Reentrant: the end of a process may come while something is being kept.
        self._lock = threading.RLock()
        _write_run(self.folder, self._run)
        (self.folder / "metrics.jsonl").touch()

    def add(self, items: Sequence[Item]) -> None:
        """Keeps some more."""
        with self._lock:
            self._add_rows([item for item in items if isinstance(item, Metric)])
            files = [item for item in items if isinstance(item, File)]
            write_files(files, self.folder / "artifacts")
            for item in items:
                if isinstance(item, End):
                    self._run["status"] = item.status
                    _write_run(self.folder, self._run)

    def _add_rows(self, metrics: Sequence[Metric]) -> None:
        names = ("key", "value", "timestamp", "step")
        rows = [{name: getattr(metric, name) for name in names} for metric in metrics]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)


def _write_run(folder: Path, run: Mapping[str, Any]) -> None:
    # In one step: a thread may write once more while the folder is being read already.
    new = folder / "run.json.new"
    new.write_text(json.dumps(run), encoding="utf-8")
    new.replace(folder / "run.json")
