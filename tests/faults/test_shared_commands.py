"""Several commands that share out the runs of one suite."""

from __future__ import annotations

import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import execute_here, saved_often
from processes import start_command, wait_until
from tiny import STRATEGIES, outcome

from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder
from simo_cl.streams import load_data


def kill_in_the_middle_of_a_run(
    processes: dict[BaseProcess, Path], runs: list[PlannedRun], folder: Path
) -> tuple[BaseProcess, PlannedRun]:
    """Kills one of the commands at a moment when it has begun a run and saved it."""
    found: list[tuple[BaseProcess, PlannedRun]] = []

    def is_stopped_in_a_run() -> bool:
        for process, says in processes.items():
            begun = [run for run in runs if f"{run.name} ...\n" in says.read_text()]
            if not begun:
                continue
            os.kill(process.pid or 0, signal.SIGSTOP)
            for run in begun:
                path = folder / run.folder
                if RunFolder(path).state == "running" and (path / "checkpoint.pt").exists():
                    found.append((process, run))
                    return True
            os.kill(process.pid or 0, signal.SIGCONT)
        return False

    wait_until(
        lambda: is_stopped_in_a_run() or not any(process.is_alive() for process in processes)
    )
    (killed,) = found
    os.kill(killed[0].pid or 0, signal.SIGKILL)
    return killed


@pytest.mark.slow
def test_of_four_one_is_killed_and_the_others_finish_its_run(tmp_path: Path) -> None:
    runs = saved_often(tmp_path, "simo", "er", "finetune", "er_ace", "icarl", "supcon")
    suite, folder = tmp_path / "suite" / "tiny.yaml", tmp_path / "results" / "tiny"
    words = ["run", suite, "--results", folder.parent, "--strategies-dir", STRATEGIES, "--shared"]
    processes: dict[BaseProcess, Path] = {}
    for number in range(4):
        says = tmp_path / f"{number}.txt"
        says.touch()
        processes[start_command(words, says=says)] = says
    killed, its_run = kill_in_the_middle_of_a_run(processes, runs, folder)
    for process in processes:
        process.join()

    said = {process: says.read_text() for process, says in processes.items()}
    assert killed.exitcode == -signal.SIGKILL
    others = [process for process in processes if process is not killed]
    assert [process.exitcode for process in others] == [0, 0, 0], said
    # Each run was begun once, and the killed command's gone on with.
    for run in runs:
        log = (folder / run.folder / "log.txt").read_text()
        assert log.count(" steps on cpu") == 1
        assert log.count("goes on in experience") == int(run is its_run)
        assert RunFolder(folder / run.folder).state == "finished"
    reports = [process for process in others if f"Report: {folder}" in said[process]]
    assert len(reports) == 1
    for process in others:
        assert ("writes the report." in said[process]) == (process not in reports)
    assert not (folder / "suite.shared").exists()

    execute_here(runs, tmp_path / "alone", data=load_data("digits"))
    for run in runs:
        assert outcome(folder / run.folder) == outcome(tmp_path / "alone" / run.folder)
