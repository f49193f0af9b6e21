"""Sends to one MLflow run from threads of its own."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from simo_cl.tracking import store
from simo_cl.tracking.lane import Lane
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
    """Sends to one run from threads of its own; what cannot be sent it keeps on disk.

    Numbers and files go separate ways, because MLflow may keep files elsewhere: numbers reach it
    whatever becomes of files. While a server is away, MLflow itself tries again for minutes, which
    only these threads notice. After that everything of that kind goes to the folder.

    Args:
        uri: of the store.
        run: to begin at once, or to go on with.
        is_late: training goes on already: a store that cannot be used is no error any more.

    Attributes:
        run_id: MLflow's identifier of the run; None when the server did not answer.
        is_training: whether the experiment is in the middle of a training.

    Raises:
        TrackingError: a store that is not a server cannot be used, or refuses the run.
    """

    def __init__(self, uri: str, run: RunToBe, *, is_late: bool = False) -> None:
        self.run_id: str | None = run.run_id
        self.is_training = False
        self._process = os.getpid()
        self._uri = uri
        self._run = run
        # The end of a process may come in the middle of anything: hence reentrant.
        self._lock = threading.RLock()  # over the folder
        self._kept: Unsent | None = None
        self._files_kept: list[str] = []
        self._ended = False
        self._refused_some = False
        self._numbers = Lane(
            self._send_numbers,
            keep=self._keep,
            give_up=partial(self._say, "The MLflow store {store} {reason}"),
            batch=store.METRICS_PER_CALL,
            seconds=GATHER_SECONDS,
        )
        self._files = Lane(
            self._send_file,
            keep=self._keep,
            give_up=partial(self._say, "The place of {store}'s files {reason}"),
        )
        self._client = self._begin(is_late)

    def put(self, item: Metric | File) -> None:
        """Takes something to send, without waiting for anything."""
        if not self._ended:
            (self._files if isinstance(item, File) else self._numbers).put(item)
        elif not self._refused_some:
            self._refused_some = True
            _log.warning("the MLflow run has ended; what is measured after close() is not logged")

    def close(self, status: str | None, seconds: float | None = None) -> None:
        """Sends what is left, and ends the run.

        Args:
            status: MLflow's word for how it ended; None leaves that to whoever began the run.
            seconds: to wait for it at most, by default ``CLOSE_SECONDS``; then it is kept.
        """
        # A forked child, as a worker of a data loader, has a copy that is not its to end.
        if self._ended or os.getpid() != self._process:
            return
        self._ended = True
        seconds = CLOSE_SECONDS if seconds is None else seconds
        end = time.monotonic() + seconds
        self._numbers.end(End(status))
        self._files.end()
        for lane in (self._numbers, self._files):
            if not lane.wait(max(0.0, end - time.monotonic())):
                lane.stop_sending(f"has not taken everything within {seconds:.0f} s")
        if self._kept is not None:
            self._kept.add([End(status)])
        self._name_files()

    def _begin(self, is_late: bool) -> MlflowClient | None:
        """The one talk to the server on the caller's thread: bounded, and before any training."""
        try:
            client = store.open_client(self._uri)
            limit = store.quick_requests(store.ANSWER_SECONDS)
            with limit, store.tracking_errors(self._uri):
                self.run_id = self._run.begin(client)
                # One to go on with may have ended.
                client.update_run(self.run_id, status="RUNNING")
        except TrackingError as error:
            is_server = self._uri.startswith(("http://", "https://"))
            if not is_late and (error.is_refusal or not is_server):
                raise
            self._numbers.stop_sending(f"cannot be used: {str(error).splitlines()[0]}")
            self._files.stop_sending(None)
            return None
        self._numbers.start()
        self._files.start()
        return client

    def _send_numbers(self, items: Sequence[Item]) -> None:
        assert self._client is not None
        assert self.run_id is not None
        metrics = [item for item in items if isinstance(item, Metric)]
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)
        end = items[-1]
        if isinstance(end, End) and end.status is not None:
            self._client.set_terminated(self.run_id, end.status)

    def _send_file(self, items: Sequence[Item]) -> None:
        assert self._client is not None
        for file in items:
            assert isinstance(file, File)
            # Not TemporaryDirectory: a process that is ending removes its folder at once.
            folder = tempfile.mkdtemp()
            try:
                write_files([file], Path(folder))
                # Not log_artifacts: it starts threads, which a process that is ending may not.
                place = file.path.rpartition("/")[0]
                self._client.log_artifact(self.run_id, f"{folder}/{file.path}", place)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, items: Sequence[Item]) -> None:
        self._files_kept += [item.path for item in items if isinstance(item, File)]
        self._folder().add(items)

    def _folder(self) -> Unsent:
        with self._lock:
            if self._kept is None:
                self._kept = Unsent(self._run, self.run_id)
            return self._kept

    def _say(self, what: str, reason: str) -> None:
        """Says, once for both kinds if it is the same reason, how to get at what is kept."""
        with self._lock:
            is_first = self._kept is None
            folder = self._folder().folder
        message = what.format(store=without_secrets(self._uri), reason=without_secrets(reason))
        if is_first:
            message += (
                f"\nThe training goes on; what is not sent is kept in {folder / 'metrics.jsonl'} "
                f"and {folder / 'artifacts'}. Send it later: simo_cl.tracking.mlflow_logger."
                f"send_kept({str(folder)!r}, tracking_uri)"
            )
        _log.warning(message)

    def _name_files(self) -> None:
        if self._files_kept and self._kept is not None:
            names = sorted(set(self._files_kept))
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            _log.warning(
                "%d files are not in MLflow but in %s: %s%s",
                *(len(names), self._kept.folder / "artifacts", ", ".join(names[:5]), more),
            )
