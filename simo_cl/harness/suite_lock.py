"""One command at a time writes into a suite's folder."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from simo_cl.results import refuse_links, write_atomically

_SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def suite_lock(path: Path, command: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock; waits while another command holds it, and says which.

    The operating system frees the lock when the process that holds it ends, however it ends.

    Args:
        path: of the lock file, which stays; its folder is made.
        command: of this process, for those who wait for it.
        tell: told who holds the lock, again when that changes.

    Raises:
        OSError: the folder or the file cannot be written, or a link in the folder leads out of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_links(path.parent)
    lock, holder = FileLock(path), path.with_name(f"{path.name}.json")
    _wait_for(lock, holder, tell)
    try:
        _write_holder(holder, command)
        yield
    finally:
        # Before the lock is free, so that it never names one who has left. On a disk that is now
        # read-only it stays, which is no reason to hide how the runs ended.
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _wait_for(lock: FileLock, holder: Path, tell: Callable[[str], None]) -> None:
    said = None
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=0 if said is None else _SECONDS_BETWEEN_LOOKS)
            return
        text = _describe(holder)
        if text != said:
            said = text
            tell(f"{holder.parent} is in use by {text}. Waiting for its end; Ctrl-C gives up.")


def _write_holder(path: Path, command: str) -> None:
    content = {
        "command": command,
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    write_atomically(path, json.dumps(content, indent=1))


def _describe(path: Path) -> str:
    """Who holds the lock; the moment after taking it, nobody has written it down."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"`{content['command']}` (process {content['process']} on {content['host']}, since "
            f"{content['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"
