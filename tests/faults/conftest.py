from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
import pytest
import torch
from forked import Event, Execute, Kill

from simo_cl.harness.plan import Run

_SECONDS = 150


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Runs choose their number of threads for the whole process; the next test gets one again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def context() -> BaseContext:
    """Makes processes from one that has imported what takes seconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(forked.IMPORTED)
    return context


@pytest.fixture(scope="session")
def give_command(context: BaseContext) -> Callable[..., BaseProcess]:
    """Gives a command, as words; what it says goes to a file."""

    def give(words: Sequence[str | Path], says: Path) -> BaseProcess:
        process = context.Process(target=forked.command, args=(list(map(str, words)), says))
        process.start()
        return process

    return give


@pytest.fixture(scope="session")
def execute_forked(context: BaseContext) -> Execute:
    """Executes runs in a process of its own, to its end or until it is killed; gives its events."""

    def execute(runs: list[Run], folder: Path, kill: Kill | None = None) -> list[Event]:
        here, there = context.Pipe(duplex=False)
        last = None if kill is None else (kill.after, kill.nth)
        process = context.Process(target=forked.execute, args=(runs, folder, there, last))
        process.start()
        there.close()
        events: list[Event] = []
        with suppress(EOFError):
            while here.poll(_SECONDS):
                events.append(Event(*here.recv()))
                if kill and [event.name for event in events].count(kill.after) == kill.nth:
                    time.sleep(kill.seconds)
                    process.kill()
        process.join(_SECONDS)
        assert process.exitcode == (-signal.SIGKILL if kill else 0)
        return events

    return execute
