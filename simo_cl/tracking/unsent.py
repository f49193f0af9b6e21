"""What could not be sent to an MLflow server: kept in a folder, and sent later."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mlflow.entities import Metric

from simo_cl.tracking import store
from simo_cl.tracking.run_items import End, File, Item, RunToBe, write_files


def send_kept(folder: str | Path, tracking_uri: str) -> str:
    """Sends what an `MLflowLogger` kept in a folder because its server did not answer.

    Args:
        folder: the folder that the logger's warning named.
        tracking_uri: the MLflow store to send to.

    Returns:
        The MLflow run's identifier: the run that had been begun, else a new one.

    Raises:
        TrackingError: the store cannot be used.
    """
    folder = Path(folder)
    kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run_id, status = kept.pop("run_id"), kept.pop("status")
    client = store.open_client(tracking_uri)
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    with store.tracking_errors(tracking_uri):
        run_id = run_id or RunToBe(**kept).begin(client)
        store.log_all(client, run_id, metrics=[Metric(**row) for row in rows])
        if (folder / "artifacts").is_dir():
            client.log_artifacts(run_id, str(folder / "artifacts"))
        client.set_terminated(run_id, status)
    return run_id


class Unsent:
    """A new folder, in the working folder, of what could not be sent.

    Args:
        run: that it belongs to.
        run_id: MLflow's identifier of it, if it had been begun.
    """

    def __init__(self, run: RunToBe, run_id: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-unsent-", dir="."))
        self.folder = self.folder.resolve()
        self._run = {**asdict(run), "run_id": run_id, "status": "FINISHED"}
        self._write_run()
        (self.folder / "metrics.jsonl").touch()

    def add(self, items: Sequence[Item]) -> None:
        """Keeps some more."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            for item in items:
                if isinstance(item, Metric):
                    row = {
                        "key": item.key,
                        "value": item.value,
                        "timestamp": item.timestamp,
                        "step": item.step,
                    }
                    file.write(json.dumps(row) + "\n")
        files = [item for item in items if isinstance(item, File)]
        write_files(files, self.folder / "artifacts")
        for item in items:
            if isinstance(item, End):
                self._run["status"] = item.status
                self._write_run()

    def _write_run(self) -> None:
        # In one step: the thread may write once more while the folder is being read already.
        new = self.folder / "run.json.new"
        new.write_text(json.dumps(self._run), encoding="utf-8")
        new.replace(self.folder / "run.json")
