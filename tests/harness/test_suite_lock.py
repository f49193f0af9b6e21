from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from simo_cl.harness.suite_lock import Membership, suite_lock

HOLDER = """\
import sys, time
from pathlib import Path
from simo_cl.harness.suite_lock import suite_lock
with suite_lock(Path(sys.argv[1]), "simo-cl run theirs.yaml", print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_with(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "suite" / "suite.lock"
    told: list[str] = []
    with another_process_with(path) as holder:
        waits = threading.Event()

        def tell(text: str) -> None:
            told.append(text)
            waits.set()

        def leave() -> None:
            assert waits.wait()
            assert holder.stdin is not None
            holder.stdin.close()

        thread = threading.Thread(target=leave)
        thread.start()
        with suite_lock(path, "simo-cl run mine.yaml", tell):
            assert holder.wait() == 0
        thread.join()

    (text,) = told
    assert f"{tmp_path / 'suite'} is in use by `simo-cl run theirs.yaml`" in text
    assert f"(process {holder.pid} on {os.uname().nodename}, since 20" in text
    assert [file.name for file in path.parent.iterdir()] == ["suite.lock"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_holds_nothing(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "suite.lock"
    with another_process_with(path) as holder:
        holder.send_signal(number)
        assert holder.wait() == -number
    told: list[str] = []

    with suite_lock(path, "mine", told.append):
        pass

    assert told == []


def test_an_unknown_holder_is_waited_for_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "suite.lock"
    told: list[str] = []
    with another_process_with(path) as holder:
        path.with_name("suite.lock.json").write_text('{"command": "cut sh')

        def tell(text: str) -> None:
            told.append(text)
            holder.kill()

        with suite_lock(path, "mine", tell):
            pass

    assert len(told) == 1
    assert "is in use by another command" in told[0]


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "suite.lock"
    with pytest.raises(ZeroDivisionError), suite_lock(path, "mine", print):
        raise ZeroDivisionError

    with suite_lock(path, "mine", lambda text: pytest.fail(text)):
        pass


def test_the_commands_that_share_are_named(tmp_path: Path) -> None:
    path = tmp_path / "suite.lock"
    with suite_lock(path, "mine", print, shares=True):
        one = Membership(path)
        another = tmp_path / "suite.shared" / "node7-12-0a1b.lock"
        dead = tmp_path / "suite.shared" / "node8-12-0a1b.lock"
        dead.touch()
        with FileLock(another):
            assert one.others() == ["process 12 on node7"]
        assert one.others() == []
        assert not dead.exists()
        one.leave()


def test_two_that_share_may_have_one_name(tmp_path: Path) -> None:
    """As processes of one number in two containers with the name of their host."""
    path = tmp_path / "suite.lock"
    with suite_lock(path, "mine", print, shares=True):
        one, two = Membership(path), Membership(path)
        assert one.others() == two.others() == [f"process {os.getpid()} on {os.uname().nodename}"]
        one.leave()
        assert two.others() == []
        two.leave()


def test_a_command_that_does_not_share_waits_for_those_that_do(tmp_path: Path) -> None:
    path = tmp_path / "suite.lock"
    with suite_lock(path, "mine", print, shares=True):
        sharing = Membership(path)
    told: list[str] = []
    with suite_lock(path, "also shares", told.append, shares=True):
        pass
    assert told == []

    def tell(text: str) -> None:
        told.append(text)
        with suite_lock(path, "leaves", print, shares=True):
            sharing.leave()

    with suite_lock(path, "alone", tell):
        pass

    (text,) = told
    assert "with --shared. Waiting for its end" in text
