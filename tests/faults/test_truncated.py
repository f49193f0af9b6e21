"""Files that were cut off afterwards are noticed, and made again with the same numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forked import execute_here, saved_often
from tiny import outcome, part_of_digits

from simo_cl.harness.execute_suite import write_plan
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.suite_file import read_suite
from simo_cl.report import write_report
from simo_cl.results import ResultsError, RunFolder, examine, load_suite
from simo_cl.results import read_suite as read_results
from simo_cl.tracking.content import started_runs
from simo_cl.tracking.mirror import mirror

WRITTEN = (
    "config.yaml",
    "metrics.jsonl",
    "arrays.npz",
    "embeddings.npz",
    "snapshots.npz",
    "model.pt2",
    "model_example.npz",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[PlannedRun], Path]:
    """A suite of two finished runs, with its plan."""
    folder = tmp_path_factory.mktemp("finished")
    runs = saved_often(folder, "finetune", "simo")
    suite = read_suite(folder / "suite" / "tiny.yaml").suite
    write_plan(folder, suite, runs, command="simo-cl run", data=part_of_digits())
    execute_here(runs, folder)
    return runs, folder


@pytest.fixture
def copied(
    finished: tuple[list[PlannedRun], Path], tmp_path: Path
) -> tuple[list[PlannedRun], Path]:
    """Such a suite of the test's own."""
    runs, folder = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return runs, tmp_path


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    """Changes one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_file_of_a_run_has_a_checksum(finished: tuple[list[PlannedRun], Path]) -> None:
    runs, folder = finished
    status = json.loads((folder / runs[0].folder / "status.json").read_text())

    assert set(status["files"]) == set(WRITTEN)
    assert RunFolder(folder / runs[0].folder).state == "finished"


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", WRITTEN)
def test_damage_to_it_is_seen_by_all(
    name: str, damage: object, copied: tuple[list[PlannedRun], Path]
) -> None:
    (run, _), folder = copied
    damage(folder / run.folder / name)  # type: ignore[operator]

    problem = f"what the run wrote is not what is in {name} now"
    assert examine(folder / run.folder)[:2] == ("broken", problem)
    reported, other = load_suite(folder).runs
    assert (reported.state, other.state) == ("broken", "finished")
    assert problem in reported.problem
    problems: list[str] = []
    assert [r.seed for r in started_runs(read_results(folder), problems)] == [0]
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Invalid JSON"),
        (b"\xff{}", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b'{"started": 1.0}', "state: Field required"),
        (b'{"state": "done"}', "state: Input should be 'running', 'finished' or 'failed'"),
        (b'{"state": "finished", "files": []}', "files: Input should be an object"),
        (b'{"state": "finished", "started": NaN}', "started: Input should be a finite number"),
        (b'{"state": "failed", "error": "loss is NaN"}', "error: Input should be an object"),
    ],
)
def test_a_status_that_is_none_is_seen_by_all(
    content: bytes, why: str, copied: tuple[list[PlannedRun], Path]
) -> None:
    (run, _), folder = copied
    (folder / run.folder / "status.json").write_bytes(content)

    state, damage, _ = examine(folder / run.folder)
    assert state == "broken"
    assert damage.startswith(f"status.json cannot be read: {why}")
    reported, other = load_suite(folder).runs
    assert (reported.state, reported.problem, other.state) == ("broken", damage, "finished")
    problems: list[str] = []
    assert [r.label for r in started_runs(read_results(folder), problems)] == ["simo"]
    assert damage in problems[0]


@pytest.mark.parametrize("name", [*WRITTEN[:3], "status.json"])
def test_a_damaged_run_is_executed_again(
    name: str,
    copied: tuple[list[PlannedRun], Path],
    finished: tuple[list[PlannedRun], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (run, other), folder = copied
    cut(folder / run.folder / name)
    assert execute_here([run, other], folder, quiet=False) == {}

    shown = capsys.readouterr().out
    assert "1 of 2 runs is finished already" in shown
    assert f"Warning: {run.name}: " in shown
    assert "; it is executed again" in shown
    assert outcome(folder / run.folder) == outcome(finished[1] / run.folder)


def test_what_no_table_needs_may_be_deleted(copied: tuple[list[PlannedRun], Path]) -> None:
    (run, _), folder = copied
    for name in WRITTEN[3:]:
        (folder / run.folder / name).unlink()

    assert RunFolder(folder / run.folder).state == "finished"
    assert load_suite(folder).runs[0].state == "finished"


def test_a_cut_plan_is_named_and_written_anew(copied: tuple[list[PlannedRun], Path]) -> None:
    runs, folder = copied
    whole = (folder / "plan.json").read_bytes()
    cut(folder / "plan.json")
    with pytest.raises(ResultsError, match=r"plan\.json cannot be read.*Running the suite again"):
        write_report(load_suite(folder))
    with pytest.raises(OSError, match=r"plan\.json cannot be read.*Running the suite again"):
        mirror(folder)

    suite = read_suite(folder / "suite" / "tiny.yaml").suite
    write_plan(folder, suite, runs, command="simo-cl run", data=part_of_digits())
    assert (folder / "plan.json").read_bytes() == whole
