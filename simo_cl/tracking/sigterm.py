"""A process that is asked to end says so in MLflow first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from simo_cl.tracking.writer import Writer

# For all runs together. Who asks a process to end soon kills it: Docker after 10 s, Slurm after 30.
_SECONDS = 5.0

_writers: set[Writer] = set()


def end_on_sigterm(writer: Writer) -> None:
    """Ends this run as KILLED on SIGTERM, where nobody else sees to that signal.

    The process ends as it would have, within seconds: what MLflow has not taken by then is kept.
    Out of the main thread no signal can be seen to.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    _writers.add(writer)


def forget_sigterm(writer: Writer) -> None:
    """Leaves the signal alone again, once no run is left to end."""
    _writers.discard(writer)
    is_main = threading.current_thread() is threading.main_thread()
    if not _writers and is_main and signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    writers = list(_writers)
    for writer in writers:
        writer.close("KILLED", _SECONDS / len(writers))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
