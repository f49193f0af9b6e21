from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import forked
import pytest
import spared
import torch
from forked import Event, Execute, Kill
from processes import forks

from simo_cl.harness.plan import PlannedRun


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Runs choose their number of threads for the whole process; the next test gets one again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _stores_are_copied(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    spared.copy_stores(monkeypatch, empty_store)


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
def execute_forked() -> Execute:
    """Executes runs in a process of its own, to its end or until it is killed; gives its events."""

    def execute(runs: list[PlannedRun], folder: Path, kill: Kill | None = None) -> list[Event]:
        context = forks()
        here, there = context.Pipe(duplex=False)
        last = None if kill is None else (kill.after, kill.nth)
        process = context.Process(target=forked.execute, args=(runs, folder, there, last))
        process.start()
        there.close()
        events: list[Event] = []
        with suppress(EOFError):
            while True:
                events.append(Event(*here.recv()))
                if kill and [event.name for event in events].count(kill.after) == kill.nth:
                    time.sleep(kill.seconds)
                    process.kill()
        process.join()
        assert process.exitcode == (-signal.SIGKILL if kill else 0)
        return events

    return execute
