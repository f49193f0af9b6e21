"""Processes that do not outlive the one that began them."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import wait
from multiprocessing.process import parent_process


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
