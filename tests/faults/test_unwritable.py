"""A folder that cannot be written is named, and no other run suffers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import torch
from forked import execute_here, hearing, saved_often
from tiny import SETTINGS, STRATEGIES, outcome, part_of_digits, write_suite
from typer.testing import CliRunner

from simo_cl.cli import app
from simo_cl.harness.attempt import attempt
from simo_cl.results import RunFolder


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def run_command(suite: Path, results: Path) -> str:
    """Gives a command that must be refused, and what it says."""
    words = ["run", suite, "--results", results, "--strategies-dir", STRATEGIES]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2
    return result.output


def test_the_command_names_a_folder_that_is_read_only(small_disk: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, SETTINGS + "strategies: {finetune: }\n")
    remount(small_disk, "ro")

    output = run_command(suite, small_disk)

    assert f"Read-only file system: '{small_disk / 'tiny'}'" in output


def test_the_command_names_a_file_in_the_place_of_its_folder(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, SETTINGS + "strategies: {finetune: }\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny").write_text("mine")

    assert f"File exists: '{tmp_path / 'results' / 'tiny'}'" in run_command(
        suite, tmp_path / "results"
    )
    assert (tmp_path / "results" / "tiny").read_text() == "mine"


def test_a_disk_that_turns_read_only_meanwhile(small_disk: Path, tmp_path: Path) -> None:
    (run,) = runs = saved_often(tmp_path, "simo")
    execute_here(runs, tmp_path)

    def step(taken: int, total: int) -> None:
        if taken == total // 2:
            remount(small_disk, "ro")

    reason = attempt(run, small_disk, part_of_digits(), torch.device("cpu"), hearing(step))
    assert reason is not None
    assert "Read-only file system" in reason

    remount(small_disk, "rw")
    assert execute_here(runs, small_disk) == {}
    assert outcome(small_disk / run.folder) == outcome(tmp_path / run.folder)


def test_a_file_in_the_place_of_a_run_s_folder(tmp_path: Path) -> None:
    first, second = runs = saved_often(tmp_path, "finetune", "simo")
    (tmp_path / "runs").mkdir()
    in_the_way = (tmp_path / first.folder).parent
    in_the_way.write_text("")
    failed = execute_here(runs, tmp_path)

    assert list(failed) == [first.name]
    assert str(in_the_way) in failed[first.name]
    assert RunFolder(tmp_path / second.folder).state == "finished"

    in_the_way.unlink()
    assert execute_here(runs, tmp_path) == {}
    assert RunFolder(tmp_path / first.folder).state == "finished"
    shutil.rmtree(tmp_path / "runs")
