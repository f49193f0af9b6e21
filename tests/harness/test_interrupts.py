"""The command in a process of its own, stopped from outside."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import spared
from processes import start_command, wait_until
from tiny import SETTINGS, STRATEGIES, write_suite

pytestmark = pytest.mark.slow

SUITE = SETTINGS.replace("epochs: 0.2", "epochs: 500") + "strategies: {er: }\nseeds: [0, 1, 2]\n"


@pytest.fixture(autouse=True)
def _stores_are_copied(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    spared.copy_stores(monkeypatch, empty_store)


class Command:
    """`simo-cl run` on a suite that takes longer than anybody waits."""

    def __init__(self, folder: Path, *options: str, spawns: bool = False) -> None:
        suite = write_suite(folder / "benchmarks", SUITE)
        self.results = folder / "results"
        self.words = ["run", str(suite), "--strategies-dir", str(STRATEGIES)]
        self.words += ["--results", str(self.results), *options]
        self.says = folder / "says.txt"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", "200")
            self.process = start_command(self.words, says=self.says, spawns=spawns)

    def wait_until(self, runs_train: int) -> None:
        def checkpoints() -> bool:
            assert self.process.is_alive(), self.says.read_text()
            return len(list(self.results.glob("tiny/runs/*/*/checkpoint.pt"))) >= runs_train

        wait_until(checkpoints)

    def processes(self) -> list[str]:
        """Those of its group that are left."""
        listed = subprocess.run(
            ["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
        )
        lines = [line.split() for line in listed.stdout.splitlines()]
        group = str(self.process.pid)
        return [" ".join(words) for words in lines if words[0] == group and words[1][0] != "Z"]

    def output(self) -> str:
        self.process.join()
        return self.says.read_text()

    def states(self) -> set[str]:
        paths = self.results.glob("tiny/runs/*/*/status.json")
        return {path.read_text().partition('"state": "')[2].partition('"')[0] for path in paths}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    command = Command(tmp_path)
    command.wait_until(runs_train=1)

    # Like a terminal, or a scheduler: to all processes.
    os.killpg(command.process.pid, number)

    output = command.output()
    assert command.process.exitcode == 128 + number
    assert "the same command goes on from there:\n  simo-cl run " in output
    assert "Traceback" not in output
    assert command.states() == {"running"}


def test_workers_are_stopped_and_never_outlive_the_command(tmp_path: Path) -> None:
    killed = Command(tmp_path, "--jobs", "2")
    killed.wait_until(runs_train=2)
    assert len(killed.processes()) > 2

    killed.process.kill()
    killed.process.join()

    wait_until(lambda: killed.processes() == [])
    assert killed.states() == {"running"}

    # Workers that import everything anew have more to say.
    interrupted = Command(tmp_path, "--jobs", "2", spawns=True)
    log = next(interrupted.results.glob("tiny/runs/*/*/log.txt"))
    wait_until(lambda: "goes on" in log.read_text())
    os.killpg(interrupted.process.pid, signal.SIGINT)

    output = interrupted.output()
    assert interrupted.process.exitcode == 130
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
    assert "is in use" not in output
    assert "QP solver" not in output
    wait_until(lambda: interrupted.processes() == [])
    assert interrupted.states() == {"running"}
