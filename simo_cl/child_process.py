"""Processes that begin at once where they can be forked, hear of the end of the one that began
them, and not of the terminal's Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_all_start_methods, get_context, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess, parent_process
from types import ModuleType

if sys.platform != "win32":
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    class ForkedProcess(ForkServerProcess):
        """Has the environment and the blocked signals of who starts it, and not those with which
        the process began that it is forked from: a login may have been set since."""

        def start(self) -> None:
            self._environment = dict(os.environ)
            self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            super().start()

        def run(self) -> None:
            self.take_over()
            super().run()

        def take_over(self) -> None:
            """In the process, before anything else."""
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
            os.environ.clear()
            os.environ.update(self._environment)

    class ForkedContext(ForkServerContext):
        """Makes them."""

        Process = ForkedProcess


def process_context() -> ForkServerContext | SpawnContext:
    """What makes processes: by forking one that has imported what :func:`import_ahead` was given,
    or by spawning where the system cannot do that.

    Not for CUDA, which a library that is imported may have initialised: then no fork can use it.
    """
    if not _can_fork():
        return get_context("spawn")
    return ForkedContext()


def import_ahead(*modules: str) -> None:
    """Has modules imported, while this process goes on, for the processes that will want them."""
    if not _can_fork():
        return
    forkserver.set_forkserver_preload(list(modules))
    with interrupts_blocked():
        forkserver.ensure_running()


def start_without_interrupts(process: BaseProcess) -> None:
    """Starts a process that a terminal's Ctrl-C, which all its processes get, does not reach.

    The one that began it hears it, and ends the others in an order. Windows cannot do this.

    Raises:
        OSError: the process cannot be started.
    """
    with interrupts_blocked():
        process.start()


def end_with_parent() -> None:
    """Ends this process as soon as the one that began it has ended, even by SIGKILL.

    The same command given again may otherwise be at the same files before this one has left them.
    """
    threading.Thread(target=_end_with_parent, name="simo_cl-orphan", daemon=True).start()


def _can_fork() -> bool:
    return "forkserver" in get_all_start_methods()


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """What begins in here inherits it, and so do the processes that fork from it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    # Starting multiprocessing's own process, once, would undo the mask that children inherit.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_left_out() -> Iterator[None]:
    """A process that is started in here does not execute the user's script again, as every other
    does before its work, whatever of the script is not under ``if __name__ == "__main__"``.

    For work that needs nothing of the script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # which has no file
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
