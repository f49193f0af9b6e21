"""Processes that are forked and yet are as if the one that begins them had spawned them."""

from __future__ import annotations

import os
import signal
from multiprocessing.context import ForkServerContext, ForkServerProcess


class ForkedProcess(ForkServerProcess):
    """Has the environment and the blocked signals of who starts it, and not those with which the
    process began that it is forked from: a login may have been set since."""

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
