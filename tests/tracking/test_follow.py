"""MLflow follows a suite while it runs, whatever becomes of MLflow; training never waits for it."""

from __future__ import annotations

import ast
import math
import multiprocessing
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from processes import run_forked, wait_until
from serving import serve_store
from shown import shown

from simo_cl.tracking import follow
from simo_cl.tracking.follow import Follower
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.view import VIEW_TAG

if TYPE_CHECKING:
    from conftest import Server, SuiteMaker

pytestmark = pytest.mark.slow


class Followed:
    """A follower, and what it has told."""

    def __init__(self, folder: Path, uri: str | None = None) -> None:
        self.told: list[str] = []
        self.follower = Follower(folder, uri, self.told.append)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: any(text in message for message in self.told))

    def wait_until_up_to_date(self) -> None:
        """What is in the store was reported a moment later."""
        wait_until(lambda: self.follower.problem is None)


def followers() -> list[BaseProcess]:
    """Processes of this one, but for the servers of the tests."""
    return [p for p in multiprocessing.active_children() if p.name != serve_store.__name__]


def experiences_in(uri: str, name: str = "tiny") -> Callable[[], int]:
    """How many experiences of the run going on a store shows."""

    def count() -> int:
        client = MlflowClient(uri)
        with suppress(Exception):  # nothing there yet
            identifier = client.get_experiment_by_name(name).experiment_id
            runs = client.search_runs([identifier], f"attributes.run_name = 'er seed 0 · {name}'")
            return len(client.get_metric_history(runs[0].info.run_id, "average_accuracy"))
        return 0

    return count


def add_experience(suite: SuiteMaker, folder: Path, number: int) -> None:
    values = suite.values(number, 0, 0.5)
    suite.add_line(folder, number, values, suite.STARTED + 10.0 * (number + 1))


@pytest.fixture
def undisturbed(tmp_path: Path, empty_store: Path) -> Callable[[Path, str], Any]:
    """What a store shows that is written in one go."""

    def write(folder: Path, name: str = "tiny") -> Any:
        uri = f"sqlite:///{tmp_path}/undisturbed.db"
        shutil.copy(empty_store, tmp_path / "undisturbed.db")
        mirror(folder, uri)
        return shown(uri, name)

    return write


def test_every_experience_shows_while_the_run_goes_on(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    uri = f"sqlite:///{suite.folder}/mlflow.db"
    followed = Followed(suite.folder)
    with followed.follower:
        folder = suite.run("er", 0, state="running", experiences=0)
        for number in range(2):
            add_experience(suite, folder, number)
            wait_until(lambda n=number: experiences_in(uri)() == n + 1)
        assert followed.follower._left == 0  # only the last attempt says how much it has to do
        suite.run("er", 0)

    assert followed.follower.problem is None
    assert not any("Warning" in message for message in followed.told)
    assert shown(uri)["er seed 0 · tiny"]["status"] == "FINISHED"
    assert followers() == []


def test_a_server_down_from_the_start_and_killed_in_the_middle(
    suite: SuiteMaker, own_server: Server, undisturbed: Callable[..., Any]
) -> None:
    suite.plan([("er", 0), ("er", 1)])
    followed = Followed(suite.folder, own_server.address)
    with followed.follower:
        folder = suite.run("er", 0, state="running", experiences=0)
        add_experience(suite, folder, 0)
        followed.wait_for("does not answer")
        own_server.start()
        wait_until(lambda: experiences_in(own_server.address)() == 1)
        followed.wait_until_up_to_date()

        own_server.kill()
        add_experience(suite, folder, 1)
        wait_until(lambda: followed.follower.problem is not None)
        suite.run("er", 0)
        suite.run("er", 1, state="failed", experiences=2)
        own_server.start()

    assert followed.follower.problem is None
    behind = [message for message in followed.told if "MLflow is behind" in message]
    assert len(behind) == 2
    assert "training goes on" in behind[0]
    assert followed.told.count("MLflow is up to date again.") == 2
    assert shown(own_server.address) == undisturbed(suite.folder)


def test_a_server_that_stops_in_the_middle_holds_up_the_end_for_a_short_time_only(
    suite: SuiteMaker,
    own_server: Server,
    undisturbed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(follow, "_UNNOTICED_SECONDS", 0.1)
    suite.plan([("er", 0)])
    followed = Followed(suite.folder, own_server.address)
    own_server.start()
    with followed.follower:
        folder = suite.run("er", 0, state="running", experiences=1)
        wait_until(lambda: experiences_in(own_server.address)() == 1)
        own_server.send(signal.SIGSTOP)  # it takes connections and says nothing
        for number in (1, 2):
            add_experience(suite, folder, number)
        suite.run("er", 0)

    assert f"{own_server.address} has not taken everything" in str(followed.follower.problem)
    assert any(message.startswith("Waiting for MLflow, ") for message in followed.told)
    assert followers() == []
    own_server.send(signal.SIGCONT)
    # It may only now take what was sent while it was stopped.
    wait_until(lambda: mirror(suite.folder, own_server.address).written == 0)
    assert shown(own_server.address) == undisturbed(suite.folder)


def test_the_wait_at_the_end_says_how_much_is_left(
    suite_without_store: SuiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_UNNOTICED_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_SAY_SECONDS", 0.01)
    followed = Followed(suite_without_store.folder)
    follower = followed.follower
    is_over = threading.Event()
    follower._thread = threading.Thread(target=is_over.wait, daemon=True)
    follower._thread.start()
    waiting = threading.Thread(target=follower._wait, args=(None,))
    waiting.start()
    for left in (7, 3):
        follower._left = left
        followed.wait_for(f"Waiting for MLflow: {left} left to write ...")
    is_over.set()
    waiting.join()
    assert len(followed.told) <= 3  # nothing twice


@pytest.fixture
def slowly(running_server: str) -> Iterator[str]:
    """The address of a server behind a line on which every packet takes a while."""
    far = ("127.0.0.1", int(running_server.rpartition(":")[2]))

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while packet := source.recv(65536):
                time.sleep(0.02)
                target.sendall(packet)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                there = socket.create_connection(far)
                for pair in ((near, there), (there, near)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_slow_server_gets_everything(
    suite: SuiteMaker,
    slowly: str,
    running_server: str,
    undisturbed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "CLOSE_SECONDS", math.inf)
    suite.plan([("er", 0), ("simo", 0)], name="slow")
    followed = Followed(suite.folder, slowly)
    with followed.follower:
        for label in ("er", "simo"):
            suite.run(label, 0)

    assert followed.follower.problem is None
    assert shown(running_server, "slow") == undisturbed(suite.folder, "slow")


def test_ctrl_c_waits_for_nothing(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        followed = Followed(suite.folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with suppress(KeyboardInterrupt), followed.follower:
            suite.run("er", 0, state="running", experiences=1)
            raise KeyboardInterrupt

    assert followed.told == []
    assert followers() == []


def print_shown(uri: str) -> None:
    print(shown(uri))


@pytest.mark.parametrize("fault", ["its process is killed", "its file is lost", "its file breaks"])
def test_what_goes_wrong_here_is_made_good(
    suite: SuiteMaker,
    undisturbed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setattr(follow, "_RESTART_SECONDS", 0.1)
    suite.plan([("er", 0)])
    file = suite.folder / "mlflow.db"
    uri = f"sqlite:///{file}"
    followed = Followed(suite.folder)
    folder = suite.run("er", 0, state="running", experiences=1)
    with followed.follower:
        wait_until(lambda: experiences_in(uri)() == 1)
        # Nor does it write any more, which could mend a file that breaks in the middle of it.
        wait_until(lambda: VIEW_TAG in MlflowClient(uri).get_experiment_by_name("tiny").tags)
        if fault == "its process is killed":
            (process,) = followers()
            process.kill()
            followed.wait_for("ended with exit code -9")
            followed.wait_for("MLflow is up to date again.")
        elif fault == "its file is lost":
            file.unlink()
            wait_until(file.exists)
        else:
            file.write_bytes(file.read_bytes()[:40960])
        add_experience(suite, folder, 1)
        if fault == "its file breaks":
            followed.wait_for("it is now mlflow.db.damaged-1")
        suite.run("er", 0)

    assert followed.follower.problem is None
    damaged = suite.folder / "mlflow.db.damaged-1"
    assert damaged.exists() == (fault == "its file breaks")
    assert sum(f"it is now {damaged.name}" in text for text in followed.told) == damaged.exists()
    found = run_forked(print_shown, uri)
    # Not as texts: MLflow gives runs that began at the same time in any order.
    assert ast.literal_eval(found.stdout) == undisturbed(suite.folder)


def test_training_and_its_workers_have_nothing_of_mlflow() -> None:
    script = """
        import sys
        import simo_cl.harness.execute_suite
        import simo_cl.harness.workers
        import simo_cl.tracking.follow
        assert "mlflow" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_nobody_is_told_that_mlflow_is_used(
    suite_without_store: SuiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
        from pathlib import Path
        from simo_cl.tracking.follow import _attempt
        _attempt(Path({str(suite_without_store.folder)!r}), None, None)
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
        assert MLFLOW_DISABLE_TELEMETRY.get()
    """
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
