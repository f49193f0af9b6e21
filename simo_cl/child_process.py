"""Processes that hear of the end of the one that began them, and not of the terminal's Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess, parent_process


def start_without_interrupts(process: BaseProcess) -> None:
    """Starts a process that a terminal's Ctrl-C, which all its processes get, does not reach.

    The one that began it hears it, and ends the others in an order. Windows cannot do this.

    Raises:
        OSError: the process cannot be started.
    """
    if sys.platform == "win32":
        process.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    # Starting multiprocessing's own process, once, would undo the mask that children inherit.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Ends this process as soon as the one that began it has ended, even by SIGKILL.

    The same command given again may otherwise be at the same files before this one has left them.
    """
    threading.Thread(target=_end_with_parent, name="simo_cl-orphan", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
