"""Sends what a logger measures to one MLflow run, without holding it up."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from mlflow.entities import Metric

from simo_cl.tracking import store
from simo_cl.tracking.local_run import File, FolderError, LocalRun, RunSettings
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import TrackingError

# How long the end of a run waits for a slow server, and how long values gather before a call.
CLOSE_SECONDS = 30.0
GATHER_SECONDS = 1.0
# For all runs of a process that is asked to end: who asks soon kills it, Docker after 10 s, Slurm
# after 30.
_SIGTERM_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Sender:
    """Writes to a folder, and sends what is in it to a run from threads of its own.

    Numbers and files go separate ways, because MLflow may keep files elsewhere: numbers reach it
    whatever becomes of files. While a server is away, MLflow itself tries again for minutes, which
    only these threads notice. After that everything of that kind stays in the folder.

    Args:
        uri: of the store.
        run: to begin at once, or to go on with.
        is_ours: nobody else ends the run.
        is_late: training goes on already: a store that cannot be used is no error any more.

    Attributes:
        run: with MLflow's identifier, unless the server did not answer.
        is_training: whether the experiment is in the middle of a training.

    Raises:
        TrackingError: a store that is not a server cannot be used, or refuses the run.
    """

    def __init__(self, uri: str, run: RunSettings, *, is_ours: bool, is_late: bool) -> None:
        self.run = run
        self.is_training = False
        self._is_ours = is_ours
        self._process = os.getpid()
        self._uri = uri
        self._end: str | None = None  # the status to end with, once it is known
        self._has_ended = threading.Event()
        self._refusals: set[str] = set()
        self._lock = threading.RLock()  # over what has been said
        self._said: list[str] = []
        self._threads = {
            what: threading.Thread(target=self._work, args=(what, send), daemon=True)
            for what, send in (
                ("The MLflow store {}", self._send_numbers),
                ("The place of {}'s files", self._send_files),
            )
        }
        self._begin(is_late)
        if is_ours:
            _end_on_sigterm(self)

    def put(self, item: Metric | File) -> None:
        """Takes something to send, without waiting for anything."""
        if self._has_ended.is_set():
            self._refuse("the MLflow run has ended; what is measured after close() is not logged")
            return
        try:
            self._local.add(item)
        except FolderError as error:  # a full disk, say, must not end the training
            is_lost = isinstance(item, File) or self._has_ended.is_set()
            lost = "is not logged" if is_lost else "waits in memory"
            self._refuse(f"what cannot be kept on disk until it is sent {lost}: {error}")

    def close(self, status: str, seconds: float | None = None) -> None:
        """Sends what is left, and ends the run.

        Args:
            status: MLflow's word for how it ended, unless that is whoever began it to say.
            seconds: to wait for it at most, by default ``CLOSE_SECONDS``; then it is kept.
        """
        # A forked child, as a worker of a data loader, has a copy that is not its to end.
        if self._has_ended.is_set() or os.getpid() != self._process:
            return
        _forget_sigterm(self)
        seconds = CLOSE_SECONDS if seconds is None else seconds
        deadline = time.monotonic() + seconds
        self._end = status if self._is_ours else None
        self._has_ended.set()
        for what, thread in self._threads.items():
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._say(what, f"has not taken everything within {seconds:.0f} s")
        if not self._said:
            self._local.remove()
            return
        try:
            self._keep()
        except FolderError as error:
            lost = f"{len(self._local.unwritten)} numbers are lost"
            self._refuse(f"what was not sent is not kept as it should be, and {lost}: {error}")

    def _keep(self) -> None:
        """Leaves the folder with all that was not sent."""
        local = self._local
        if names := [path.relative_to(local.artifacts).as_posix() for path in local.files()]:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            place, first = local.artifacts, ", ".join(names[:5])
            _log.warning(f"{len(names)} files are not in MLflow but in {place}: {first}{more}")
        local.write_settings(self.run, self._end)
        local.write_rest()

    def _begin(self, is_late: bool) -> None:
        """The one talk to the server on the caller's thread: bounded, and before any training."""
        problem = None
        try:
            self._client = store.open_client(self._uri)
            limit = store.quick_requests(store.ANSWER_SECONDS)
            with limit, store.tracking_errors(self._uri):
                self._run_id = self.run.begin(self._client)
                # One that is gone on with may have ended.
                self._client.update_run(self._run_id, status="RUNNING")
                self.run = replace(self.run, run_id=self._run_id)
        except TrackingError as error:
            is_server = self._uri.startswith(("http://", "https://"))
            if not is_late and (error.is_refusal or not is_server):
                raise
            problem = str(error).splitlines()[0]
        self._local = LocalRun.new()
        try:
            # With the status of what a process leaves that ends without a word.
            self._local.write_settings(self.run, "KILLED")
        except FolderError as error:
            self._refuse(f"what is measured cannot be kept on disk until it is sent: {error}")
        if problem is not None:
            self._say("The MLflow store {}", f"cannot be used: {problem}")
            return
        for thread in self._threads.values():
            thread.start()

    def _work(self, what: str, send: Callable[[bool], None]) -> None:
        """A thread: sends what has come meanwhile, until the run has ended or that fails."""
        is_last = False
        while not is_last:
            is_last = self._has_ended.wait(GATHER_SECONDS)
            try:
                send(is_last)
            except FolderError as error:  # no fault of the store: what it has can still be sent
                if is_last:
                    self._say("What was measured for {}", f"may not all be there: {error}")
                else:
                    self._refuse(str(error))
            except Exception as error:
                # Whatever it is, it must end neither the training nor the record of it.
                self._say(what, f"has refused: {error}")
                return

    def _send_numbers(self, is_last: bool) -> None:
        store.log_data(self._client, self._run_id, metrics=self._local.metrics())
        if is_last and self._end is not None:
            self._client.set_terminated(self._run_id, self._end)
        self._local.remove_metrics()

    def _send_files(self, is_last: bool) -> None:
        for path, written in self._local.files().items():
            store.log_file(self._client, self._run_id, path, self._local.artifacts)
            self._local.remove_file(path, written)

    def _refuse(self, message: str) -> None:
        if message not in self._refusals:
            self._refusals.add(message)
            _log.warning(message)

    def _say(self, what: str, reason: str) -> None:
        """Says what has failed and, the first time, how to get at what is kept."""
        message = without_secrets(f"{what.format(self._uri)} {reason}")
        local = self._local
        with self._lock:
            if not self._said:
                message += (
                    "\nThe training goes on; what is not sent is kept in "
                    f"{local.folder / 'metrics.jsonl'} and {local.artifacts}. Send it later: simo_"
                    f"cl.tracking.mlflow_logger.send_kept({str(local.folder)!r}, tracking_uri)"
                )
            self._said.append(message)
        _log.warning(message)


_on_sigterm: set[Sender] = set()


def _end_on_sigterm(sender: Sender) -> None:
    """Ends this run as KILLED on SIGTERM, where nobody else sees to that signal.

    The process ends as it would have, within seconds: what MLflow has not taken by then is kept.
    Out of the main thread no signal can be seen to.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    _on_sigterm.add(sender)


def _forget_sigterm(sender: Sender) -> None:
    """Leaves the signal alone again, once no run is left to end."""
    _on_sigterm.discard(sender)
    is_main = threading.current_thread() is threading.main_thread()
    if not _on_sigterm and is_main and signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    senders = list(_on_sigterm)
    for sender in senders:
        sender.close("KILLED", _SIGTERM_SECONDS / len(senders))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
