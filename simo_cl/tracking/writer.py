"""Sends to one MLflow run from a thread of its own."""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from simo_cl.tracking import store
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.run_items import End, File, Item, RunToBe, write_files
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.unsent import Unsent

if TYPE_CHECKING:
    from mlflow import MlflowClient

# How long the end of a run waits for a slow server, and how long values gather before a call.
CLOSE_SECONDS = 30.0
GATHER_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Writer:
    """Sends to one run from a thread of its own; what cannot be sent it keeps on disk.

    While a server is away, MLflow itself tries again for minutes, which only this thread notices.
    After that everything goes to the folder.

    Args:
        uri: of the store.
        run: to begin at once.

    Attributes:
        run_id: MLflow's identifier of the run; None when the server did not answer.

    Raises:
        TrackingError: a store that is not a server cannot be used.
    """

    def __init__(self, uri: str, run: RunToBe) -> None:
        self.run_id: str | None = None
        self._uri = uri
        self._run = run
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._in_flight: list[Item] = []
        self._lock = threading.Lock()  # over _kept and what goes into it
        self._kept: Unsent | None = None
        self._ended = False
        self._client = self._begin()
        self._thread = threading.Thread(target=self._write, name="simo_cl-mlflow", daemon=True)
        self._thread.start()

    def put(self, item: Metric | File) -> None:
        """Takes something to send, without waiting for anything."""
        if self._ended:
            _log.warning("the MLflow run has ended; what is measured after close() is not logged")
        else:
            self._items.put(item)

    def close(self, status: str) -> None:
        """Sends what is left, waiting for ``CLOSE_SECONDS`` at most, and ends the run."""
        if self._ended:
            return
        self._ended = True
        self._items.put(End(status))
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"has not taken everything within {CLOSE_SECONDS:.0f} s")
            # What went into the folder held the thread's own sign to stop.
            self._items.put(End(status))

    def _begin(self) -> MlflowClient | None:
        """The one talk to the server on the caller's thread: bounded, and before any training."""
        try:
            client = store.open_client(self._uri)
            limit = store.quick_requests(store.ANSWER_SECONDS)
            with limit, store.tracking_errors(self._uri):
                self.run_id = self._run.begin(client)
        except TrackingError as error:
            if not self._uri.startswith(("http://", "https://")):
                raise
            self._give_up(f"cannot be used: {str(error).splitlines()[0]}")
            return None
        return client

    def _write(self) -> None:
        """The thread: takes what has gathered and sends it, or keeps it, until the end."""
        ended = False
        while not ended:
            self._in_flight = self._gathered()
            ended = isinstance(self._in_flight[-1], End)
            if self._kept is None:
                try:
                    self._send(self._in_flight)
                    self._in_flight = []
                except Exception as error:
                    # Whatever it is, it must end neither the training nor the record of it.
                    self._give_up(f"has refused values: {without_secrets(str(error))}")
            self._keep_rest()

    def _gathered(self) -> list[Item]:
        """Waits for an item, then for more until there is enough for one call."""
        items = [self._items.get()]
        until = time.monotonic() + GATHER_SECONDS
        while len(items) < store.METRICS_PER_CALL and not isinstance(items[-1], End):
            try:
                items.append(self._items.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return items

    def _send(self, items: Sequence[Item]) -> None:
        assert self._client is not None
        assert self.run_id is not None
        metrics = [item for item in items if isinstance(item, Metric)]
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)
        files = [item for item in items if isinstance(item, File)]
        if files:
            with tempfile.TemporaryDirectory() as folder:
                write_files(files, Path(folder))
                for file in files:
                    # One by one: log_artifacts starts threads, which a process that is ending
                    # may not.
                    place = file.path.rpartition("/")[0]
                    self._client.log_artifact(self.run_id, f"{folder}/{file.path}", place)
        if isinstance(items[-1], End):
            self._client.set_terminated(self.run_id, items[-1].status)

    def _give_up(self, reason: str) -> None:
        """From here on values go to a folder; says so, and how to get them from there."""
        with self._lock:
            first = self._kept is None
            if self._kept is None:
                self._kept = Unsent(self._run, self.run_id)
            folder = self._kept.folder
        self._keep_rest()
        if first:
            _log.warning(
                "The MLflow store %s %s\nThe training goes on; what is not sent is kept in %s. "
                "Send it later: simo_cl.tracking.mlflow_logger.send_kept(%r, tracking_uri)",
                *(without_secrets(self._uri), reason, folder / "metrics.jsonl", str(folder)),
            )

    def _keep_rest(self) -> None:
        """Once given up: puts what is being sent and what is waiting into the folder."""
        with self._lock:
            if self._kept is None:
                return
            rest, self._in_flight = self._in_flight, []
            while not self._items.empty():
                rest.append(self._items.get())
            self._kept.add(rest)
