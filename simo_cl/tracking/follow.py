"""Keep MLflow equal to a suite's run folders while the suite runs.

In a process of its own: beside a thread that does MLflow's work, a small network on the CPU trains
at a fifth of its speed, because both want the interpreter; beside this process, at all of it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from simo_cl.child_process import end_with_parent, process_context, start_without_interrupts
from simo_cl.tracking import store
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import TrackingError

CLOSE_SECONDS = 20.0
"""How long the end of a command waits at most for a server."""

# Between looks at the run folders, and between attempts at a store that fails: from and to.
_LOOK_SECONDS = (1.0, 20.0)
_RETRY_SECONDS = (2.0, 60.0)
_RESTART_SECONDS = 5.0
# A wait that nobody needs to be told of.
_UNNOTICED_SECONDS = 3.0
_SAY_SECONDS = 10.0
# Of a core: training may have none too many. What a busy machine or a slow server adds to a look is
# no work of this process, and no reason to fall farther behind.
_SHARE_OF_TIME = 0.1
_NICENESS = 10


@dataclass(frozen=True)
class _State:
    """What the process says after each attempt.

    Attributes:
        problem: why MLflow is behind, if it is.
        trace: where it came from, if nobody expected it.
        notes: what could not be shown, a sentence each.
    """

    problem: str | None = None
    trace: str = ""
    notes: tuple[str, ...] = ()


class Follower:
    """A context in which MLflow follows a suite's run folders, and training never waits for it.

    It looks at the folders again and again, so that nobody needs to tell it anything. A store that
    fails is tried again, at most a minute apart. Leaving the context waits until MLflow is up to
    date: for a server that does not take everything, ``CLOSE_SECONDS``; after Ctrl-C, not at all.
    What MLflow lacks then, the next `mirror` adds.

    Args:
        folder: of the suite, with its ``plan.json``.
        tracking_uri: as for `mirror`.
        tell: told, from a thread of its own, when MLflow falls behind, when it has caught up, and
            what cannot be shown in it.

    Attributes:
        problem: why MLflow is not up to date, if it is not.
    """

    def __init__(self, folder: Path, tracking_uri: str | None, tell: Callable[[str], None]) -> None:
        self.problem: str | None = None
        self._folder = Path(folder).resolve()
        self._tracking_uri = tracking_uri
        self._tell = tell
        self._said: set[str] = set()
        self._lock = threading.Lock()  # over the process and its orders
        self._process: BaseProcess | None = None
        self._orders: Connection | None = None
        self._is_over = threading.Event()
        self._is_given_up = False
        self._left = 0  # entries that the last attempt has still to write
        self._thread = threading.Thread(target=self._attend, name="simo_cl-mlflow", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or not issubclass(kind, KeyboardInterrupt):
                self._finish()
        finally:
            with self._lock:
                self._is_given_up = True
                self._is_over.set()
                if self._process is not None:
                    self._process.kill()
            self._thread.join()

    def _finish(self) -> None:
        """Orders a last attempt and waits for it."""
        with self._lock:
            self._is_over.set()
            self._order_last()
        uri = store.suite_store(self._folder, self._tracking_uri)
        limit = None if store.is_own_store(self._folder, uri) else CLOSE_SECONDS
        self._wait(limit)
        if self._thread.is_alive() and self.problem is None:
            self.problem = f"{without_secrets(uri)} has not taken everything within {limit:.0f} s."

    def _wait(self, limit: float | None) -> None:
        """Waits for the last attempt, and says how much it has still to do."""
        at_most = "" if limit is None else f", {limit:.0f} s at most"
        end = time.monotonic() + (threading.TIMEOUT_MAX if limit is None else limit)
        pause, said = _UNNOTICED_SECONDS, ""
        while True:
            self._thread.join(min(pause, max(0.0, end - time.monotonic())))
            if not self._thread.is_alive() or time.monotonic() >= end:
                return
            left = f": {self._left} left to write" if self._left else ""
            if said != (said := f"Waiting for MLflow{at_most}{left} ..."):
                self._tell(said)
            pause = _SAY_SECONDS

    def _order_last(self) -> None:
        if self._orders is not None:
            with suppress(OSError):  # it has just ended
                self._orders.send(None)

    def _attend(self) -> None:
        """The thread: has one process after the other, until one has made the last attempt."""
        while True:
            is_last = self._is_over.is_set()
            if self._attend_process() or is_last:
                return
            self._is_over.wait(_RESTART_SECONDS)

    def _attend_process(self) -> bool:
        """Whether nothing is left to attempt after this process."""
        context = process_context()
        here, there = context.Pipe()
        arguments = (there, self._folder, self._tracking_uri)
        with self._lock:
            if self._is_given_up:
                return True
            process = context.Process(target=_follow, args=arguments, daemon=True)
            try:
                start_without_interrupts(process)
            except OSError as error:
                self._falls_behind(f"no process can be started for it ({error}).")
                return False
            # Only the process holds it now, so that its death shows as the end of the connection.
            there.close()
            self._process, self._orders = process, here
            if self._is_over.is_set():
                self._order_last()
        with here, suppress(EOFError, OSError):
            while True:
                self._take(here.recv())
        process.join()
        if process.exitcode and not self._is_given_up and self.problem is None:
            self._falls_behind(f"its process ended with exit code {process.exitcode}.")
        return process.exitcode == 0 or self._is_given_up

    def _take(self, said: _State | int) -> None:
        if isinstance(said, int):
            self._left = said
            return
        for note in said.notes:
            if note not in self._said:
                self._said.add(note)
                self._tell(f"Warning: MLflow: {note}")
        if said.problem is not None:
            self._falls_behind(said.problem, said.trace)
        elif self.problem is not None:
            self.problem = None
            self._tell("MLflow is up to date again.")

    def _falls_behind(self, problem: str, trace: str = "") -> None:
        if self.problem is None:
            self._tell(
                f"Warning: MLflow is behind: {problem}\n{trace}The run folders hold everything and "
                "training goes on; MLflow is tried again."
            )
        self.problem = problem


def _follow(connection: Connection, folder: Path, tracking_uri: str | None) -> None:
    """The process: brings MLflow up to date whenever the folders have changed, until ordered to do
    so for the last time, or the command has ended."""
    end_with_parent()
    if sys.platform != "win32":
        os.nice(_NICENESS)
    file = store.own_file(folder)
    is_own = store.is_own_store(folder, store.suite_store(folder, tracking_uri))
    if is_own:
        # Else MLflow would go on with a file that has been removed or replaced.
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    seen: dict[Path, object] = {}
    pause, retry, is_last = 0.0, _RETRY_SECONDS[0], False
    while not is_last:
        is_last = connection.poll(pause)
        now = _stamp(folder)
        pause = _LOOK_SECONDS[0]
        if now == seen:
            continue
        began = time.process_time()
        # What an earlier one leaves to write, the last one begins anew.
        tell_left = partial(_say, connection) if is_last else None
        state = _attempt(folder, tracking_uri, tell_left)
        _say(connection, state)
        if state.problem is None:
            seen, retry = now, _RETRY_SECONDS[0]
            if is_own and file not in now:
                seen[file] = _identity(file)  # it has been made just now
            took = time.process_time() - began
            pause = min(max(pause, took / _SHARE_OF_TIME), _LOOK_SECONDS[1])
        else:
            pause, retry = retry, min(2 * retry, _RETRY_SECONDS[1])


def _say(connection: Connection, what: _State | int) -> None:
    with suppress(OSError):  # the command has ended
        connection.send(what)


def _attempt(
    folder: Path, tracking_uri: str | None, tell_left: Callable[[int], None] | None
) -> _State:
    store.without_telemetry()
    from simo_cl.tracking.mirror import mirror

    try:
        report = mirror(folder, tracking_uri, tell_left=tell_left)
    except TrackingError as error:
        return _State(str(error), notes=error.problems)
    except Exception as error:
        # Whatever it is, hours of training must not end with it.
        problem = without_secrets(f"{type(error).__name__}: {error}")
        return _State(problem, without_secrets(traceback.format_exc()))
    return _State(notes=report.problems)


def _stamp(folder: Path) -> dict[Path, object]:
    """Changes with every experience, with the beginning and the end of every run, and when another
    file takes the place of the suite's own store."""
    stamps: dict[Path, object] = {}
    for pattern in ("plan.json", "runs/*/*/status.json", "runs/*/*/metrics.jsonl"):
        for file in folder.glob(pattern):
            with suppress(OSError):  # a run that begins anew removes its metrics
                stat = file.stat()
                stamps[file] = stat.st_mtime_ns, stat.st_size
    if (identity := _identity(store.own_file(folder))) is not None:
        stamps[store.own_file(folder)] = identity
    return stamps


def _identity(file: Path) -> tuple[int, int] | None:
    """Tells a file from another that has taken its place."""
    with suppress(OSError):
        stat = file.stat()
        return stat.st_dev, stat.st_ino
    return None
