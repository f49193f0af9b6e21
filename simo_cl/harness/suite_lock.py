"""One command at a time writes into a suite's folder, or several that share its runs."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from simo_cl.results import refuse_links, write_atomically

_SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def suite_lock(
    path: Path, command: str, tell: Callable[[str], None], *, shares: bool = False
) -> Iterator[None]:
    """Holds a lock; waits while another command holds it, and says which.

    The operating system frees the lock when the process that holds it ends, however it ends; on a
    network file system, the server does, also when the machine is gone.

    Args:
        path: of the lock file, which stays; its folder is made.
        command: of this process, for those who wait for it.
        tell: told who holds the lock, again when that changes.
        shares: whether not to wait for the end of the commands that share the suite's runs.

    Raises:
        OSError: the folder or the file cannot be written, or a link in the folder leads out of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_links(path.parent)
    lock, holder = FileLock(path), path.with_name(f"{path.name}.json")
    _wait_for(lock, holder, tell, shares)
    try:
        _write_holder(holder, command)
        yield
    finally:
        # Before the lock is free, so that it never names one who has left. On a disk that is now
        # read-only it stays, which is no reason to hide how the runs ended.
        with suppress(OSError):
            holder.unlink()
        lock.release()


class Membership:
    """Of a command that shares a suite's runs with others, from the moment that it is made.

    Make it, leave and ask for others while holding the suite's lock with ``shares=True``: so of
    several that leave, one is the last.

    Args:
        path: of the suite's lock.
    """

    def __init__(self, path: Path) -> None:
        self._suite = path
        # Containers may have the name of their host, and their processes the same number.
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        self._file = shared_folder(path) / name
        self._file.parent.mkdir(exist_ok=True)
        self._lock = FileLock(self._file)
        self._lock.acquire(timeout=0)

    def leave(self) -> None:
        if self._lock.is_locked:
            self._file.unlink(missing_ok=True)
            self._lock.release()

    def others(self) -> list[str]:
        """The other commands that share the runs, as :func:`sharing` names them."""
        return [_named(stem) for stem in _members(self._suite) if stem != self._file.stem]


def shared_folder(path: Path) -> Path:
    """Beside a suite's lock: the locks of commands that share its runs, and of their runs."""
    return path.with_suffix(".shared")


def sharing(path: Path) -> list[str]:
    """The commands that share a suite's runs, by process and host.

    Ask while holding the suite's lock.

    Args:
        path: of that lock.
    """
    return list(map(_named, _members(path)))


def _members(path: Path) -> list[str]:
    """The locks of those that are alive; what dead ones have left is removed."""
    alive = []
    for file in sorted(shared_folder(path).glob("*.lock")):
        with held_if_free(file) as is_free:
            if is_free:
                file.unlink(missing_ok=True)
            else:
                alive.append(file.stem)
    return alive


def _named(member: str) -> str:
    host, _, process = member.rpartition("-")[0].rpartition("-")
    return f"process {process} on {host}"


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Whether a lock could be had at once; then it is held within."""
    lock = FileLock(path)
    with suppress(Timeout):
        lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _wait_for(lock: FileLock, holder: Path, tell: Callable[[str], None], shares: bool) -> None:
    said = None
    while True:
        others: list[str] = []
        with suppress(Timeout):
            lock.acquire(timeout=0 if said is None else _SECONDS_BETWEEN_LOOKS)
            others = [] if shares else sharing(Path(lock.lock_file))
            if not others:
                return
            # They need it to leave.
            lock.release()
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        text = f"{', '.join(others)}, with --shared" if others else _describe(holder)
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
