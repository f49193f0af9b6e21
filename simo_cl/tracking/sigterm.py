"""A process that is asked to end says so in MLflow first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simo_cl.tracking.sender import Sender

# For all runs together. Who asks a process to end soon kills it: Docker after 10 s, Slurm after 30.
_SECONDS = 5.0

_senders: set[Sender] = set()


def end_on_sigterm(sender: Sender) -> None:
    """Ends this run as KILLED on SIGTERM, where nobody else sees to that signal.

    The process ends as it would have, within seconds: what MLflow has not taken by then is kept.
    Out of the main thread no signal can be seen to.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    _senders.add(sender)


def forget_sigterm(sender: Sender) -> None:
    """Leaves the signal alone again, once no run is left to end."""
    _senders.discard(sender)
    is_main = threading.current_thread() is threading.main_thread()
    if not _senders and is_main and signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    senders = list(_senders)
    for sender in senders:
        sender.close("KILLED", _SECONDS / len(senders))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
