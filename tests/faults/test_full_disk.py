"""A full disk ends a run with the reason; with room again, the same runs go on to the same end."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import execute_here, hearing, saved_often
from tiny import SETTINGS, STRATEGIES, outcome, part_of_digits, write_suite
from typer.testing import CliRunner

from simo_cl.cli import app
from simo_cl.harness.attempt import attempt
from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PlannedRun], Path]:
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = saved_often(folder, "finetune", "simo")
    assert execute_here(runs, folder) == {}
    return runs, folder


def fill(disk: Path, room: int) -> Path:
    """Leaves so many bytes; deleting the file that is returned frees the rest."""
    ballast = disk / "ballast"
    content = b"x" * 4096
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(content)
        except OSError:
            file.truncate(max(0, file.tell() - room))
    return ballast


# Nothing can begin; checkpoints cannot be written; the results of a trained run cannot.
@pytest.mark.parametrize("room", [0, 40_000, 250_000])
def test_runs_fail_and_go_on_once_there_is_room(
    room: int, small_disk: Path, undisturbed: tuple[list[PlannedRun], Path]
) -> None:
    runs, whole = undisturbed
    ballast = fill(small_disk, room)
    failed = execute_here(runs, small_disk)
    # The disk is as full for the second run: it was tried, too.
    assert list(failed) == [run.name for run in runs]
    for reason in failed.values():
        assert "No space left on device" in reason
        assert str(small_disk) in reason

    ballast.unlink()
    assert execute_here(runs, small_disk) == {}

    for run in runs:
        assert outcome(small_disk / run.folder) == outcome(whole / run.folder)


def test_a_full_disk_keeps_the_checkpoints_there_are(
    small_disk: Path, undisturbed: tuple[list[PlannedRun], Path]
) -> None:
    (_, run), whole = undisturbed
    ballast = None

    def step(taken: int, total: int) -> None:
        nonlocal ballast
        if taken == total // 2:
            ballast = fill(small_disk, 0)

    data = part_of_digits()
    here = torch.device("cpu")
    reason = attempt(run, small_disk, data, here, hearing(step))
    assert reason is not None
    assert "No space left on device" in reason
    assert not list((small_disk / run.folder).glob("*.partial"))

    assert ballast is not None
    ballast.unlink()
    seen: list[int] = []
    assert attempt(run, small_disk, data, here, hearing(lambda n, _: seen.append(n))) is None
    steps = seen[-1]
    assert seen[0] == steps // 2
    assert outcome(small_disk / run.folder) == outcome(whole / run.folder)


def test_runs_go_on_once_files_may_grow_again(
    tmp_path: Path, undisturbed: tuple[list[PlannedRun], Path]
) -> None:
    """A quota, as a limit on the size of a file: it needs no file system of its own."""
    runs, whole = undisturbed
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        failed = execute_here(runs, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(failed) == [run.name for run in runs]
    for run, reason in zip(runs, failed.values(), strict=True):
        assert "File too large" in reason
        assert RunFolder(tmp_path / run.folder).state == "failed"

    assert execute_here(runs, tmp_path) == {}
    for run in runs:
        assert outcome(tmp_path / run.folder) == outcome(whole / run.folder)


def test_a_failure_that_cannot_be_written_down_is_told_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = saved_often(tmp_path, "finetune")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    def fails(*_: Any) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr(RunFolder, "fail", full)
    monkeypatch.setattr("simo_cl.harness.attempt.execute_run", fails)
    reason = attempt(run, tmp_path, part_of_digits(), torch.device("cpu"), print)

    assert reason is not None
    assert reason.startswith(f"ValueError: no such luck ({tmp_path / run.folder} cannot be written")
    assert "in fails" in reason


def test_a_report_without_room_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simo_cl.report.write_report", full)
    suite = write_suite(tmp_path, SETTINGS + "strategies: {finetune: }\n")
    results = tmp_path / "results"
    words = ["run", suite, "--results", results, "--strategies-dir", STRATEGIES]
    result = CliRunner().invoke(app, [str(word) for word in words])

    assert result.exit_code == 1
    assert "The report is not up to date: [Errno 28] No space left on device" in result.output
    assert f"simo-cl report {results / 'tiny'}" in result.output
    (run,) = (results / "tiny" / "runs" / "finetune").iterdir()
    assert RunFolder(run).state == "finished"
