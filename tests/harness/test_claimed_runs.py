"""How commands share out runs, with runs that end at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from rich.console import Console
from test_suite_lock import another_process_with
from tiny import STRATEGIES, entries, part_of_digits, planned

from simo_cl.harness.execute_suite import execute_runs, write_plan
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import Suite
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import DataRecord, RunFolder
from simo_cl.running import run_suite


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were executed; those of seed 1 fail."""
    executed: list[str] = []

    def attempt(run: PlannedRun, folder: Path, *_: Any) -> str | None:
        executed.append(run.name)
        return end(folder, run)

    monkeypatch.setattr("simo_cl.harness.execute_suite.attempt", attempt)
    return executed


def end(folder: Path, run: PlannedRun) -> str | None:
    """Writes a folder of a run that has ended."""
    there = RunFolder(folder / run.folder)
    there.start(run.config, DataRecord(name="", digest="", note=""), {})
    if run.settings.seed == 1:
        there.fail(RuntimeError("no good"))
        return "no good"
    there.add_metrics(0, {"average_accuracy": 0.5})
    there.write_arrays("arrays", {})
    there.write_arrays("embeddings", {})
    there.finish()
    return None


def share(runs: list[PlannedRun], folder: Path, console: Console | None = None) -> dict[str, str]:
    with SuiteProgress(console or Console(quiet=True)) as progress:
        return execute_runs(
            runs,
            folder,
            claims=folder / "claims",
            data=part_of_digits(),
            device=torch.device("cpu"),
            progress=progress,
        )


def claim_of(run: PlannedRun, folder: Path) -> FileLock:
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "claims" / f"{'_'.join(run.folder.parts)}.lock")


def three_seeds(folder: Path) -> list[PlannedRun]:
    return planned(folder / "suite", entries("finetune") + "seeds: [0, 1, 2]\n")


def test_all_are_executed_by_one_command(attempts: list[str], tmp_path: Path) -> None:
    runs = three_seeds(tmp_path)
    failed = share(runs, tmp_path)

    assert attempts == [run.name for run in runs]
    assert failed == {runs[1].name: "no good"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_at_which_another_command_is_is_left_to_it(
    seed: int, attempts: list[str], tmp_path: Path
) -> None:
    runs = three_seeds(tmp_path)
    others = runs[seed]
    with claim_of(others, tmp_path) as claim:
        failed: dict[str, str] = {}
        thread = threading.Thread(target=lambda: failed.update(share(runs, tmp_path)))
        thread.start()
        while len(attempts) < 2:
            assert thread.is_alive()
        end(tmp_path, others)
        claim.release()
        thread.join()

    assert attempts == [run.name for run in runs if run is not others]
    reason = "no good" if seed == 0 else "in another command: no good"
    assert failed == {runs[1].name: reason}


def test_a_run_whose_command_is_dead_is_taken_over(attempts: list[str], tmp_path: Path) -> None:
    (run, *_) = three_seeds(tmp_path)
    there = RunFolder(tmp_path / run.folder)
    there.start(run.config, DataRecord(name="", digest="", note=""), {})
    claim = claim_of(run, tmp_path)
    with another_process_with(Path(claim.lock_file)) as holder:
        thread = threading.Thread(target=lambda: share([run], tmp_path))
        thread.start()
        assert attempts == []
        holder.kill()
        thread.join()

    assert attempts == [run.name]


def test_what_failed_before_is_tried_again_once(attempts: list[str], tmp_path: Path) -> None:
    failed = three_seeds(tmp_path)[1]
    end(tmp_path, failed)
    share([failed], tmp_path)

    assert attempts == [failed.name]


def test_who_shares_with_other_settings_is_refused(tmp_path: Path) -> None:
    """The last of both would write a report without the other's runs."""
    folder = tmp_path / "results" / "tiny"
    theirs = planned(tmp_path, entries("finetune"), ("memory.size=20",))
    suite = Suite.model_validate({"name": "tiny", "strategies": {"finetune": {}}})
    write_plan(folder, suite, theirs, command="theirs", data=part_of_digits())
    RunFolder(folder / theirs[0].folder).start(theirs[0].config, DataRecord(), {})
    before = (folder / "plan.json").read_text()
    (folder / "suite.shared").mkdir()
    with (
        FileLock(folder / "suite.shared" / "node7-12-0a1b.lock"),
        pytest.raises(
            SuiteError, match=r"1 run finished or running .*\n.*size is 20 there, 40 here"
        ),
    ):
        run_suite(
            tmp_path / "tiny.yaml",
            shared=True,
            strategies_dir=STRATEGIES,
            results=folder.parent,
        )
    assert (folder / "plan.json").read_text() == before


@pytest.mark.parametrize("options", [{"jobs": 2}, {"ray": "auto"}])
def test_shared_takes_no_other_way_to_execute_runs(options: dict[str, Any], tmp_path: Path) -> None:
    planned(tmp_path, entries("finetune"))
    with pytest.raises(SuiteError, match="--shared takes neither --jobs nor --ray"):
        run_suite(
            tmp_path / "tiny.yaml",
            shared=True,
            strategies_dir=STRATEGIES,
            results=tmp_path / "results",
            **options,
        )
