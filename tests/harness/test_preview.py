from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import ONLINE, SETTINGS, STRATEGIES, planned, write_suite

from simo_cl.harness.preview import preview_table
from simo_cl.harness.progress import SuiteProgress
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import load_data


@pytest.fixture
def runs(tmp_path: Path) -> list[Any]:
    return planned(tmp_path, "strategies: {er: , joint: }\n", ("training.epochs=2",))


def shown(runs: list[Any], folder: Path, jobs: int = 1) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        table = preview_table(runs, folder, load_data("digits"), torch.device("cpu"), jobs=jobs)
        console.print(table)
    return captured.get()


def test_images_state_time_and_disk_of_each_run(tmp_path: Path, runs: list[Any]) -> None:
    RunFolder(tmp_path / runs[0].folder).start(
        runs[0].config, DataRecord.of(load_data("digits")), {}
    )
    RunFolder(tmp_path / runs[0].folder).finish()

    text = shown(runs, tmp_path)

    assert "2 runs in" in text
    er, joint = (line for line in text.splitlines() if ", seed 0" in line)
    assert re.search(r"finished .* float32 .* MB", er)
    assert re.search(r"missing .* float32 .* 2,7\d\d .* [\d.]+ .*s .* MB", joint)
    assert re.search(r"left to do: 1 run, about [\d.]+ .*s and \d+ MB", text)
    assert "Estimates from a few steps on cpu" in text


def test_a_strategy_of_one_s_own_may_have_no_dimension(tmp_path: Path) -> None:
    text = (
        (STRATEGIES / "finetune.py")
        .read_text()
        .replace("    pass", "    dimension: int | None = None")
    )
    write_suite(tmp_path / "own", text, "own.py")
    runs = planned(tmp_path, "strategies: {own: }\n", strategies=tmp_path / "own")

    assert "own, seed 0" in shown(runs, tmp_path)


def test_each_strategy_is_told_of_once_it_is_timed(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simo_cl.harness.preview.busyness", lambda: "others keep it 90 % busy")
    told: list[str] = []

    table = preview_table(
        runs, tmp_path, load_data("digits"), torch.device("cpu"), tell=told.append
    )

    assert told[0] == "Timing a few steps of each strategy ..."
    assert [line.partition(" (")[0] for line in told[1:]] == ["   ok  er", "   ok  joint"]
    assert str(table.caption).endswith("\nWarning: others keep it 90 % busy")


def test_what_is_finished_is_not_left_to_do(tmp_path: Path, runs: list[Any]) -> None:
    for run in runs:
        RunFolder(tmp_path / run.folder).start(run.config, DataRecord.of(load_data("digits")), {})
        RunFolder(tmp_path / run.folder).finish()

    assert "left to do: 0 runs, about 0.0 s and 0 MB" in shown(runs, tmp_path)


@pytest.mark.parametrize(
    ("settings", "strategies", "overrides"),
    [
        (SETTINGS, "{er: , simo: {views: 2}, joint: }", ()),
        (SETTINGS, "{er: }", ("stream.validation=0.5", "stream.evaluate_on=validation")),
        (SETTINGS, "{er: }", ("stream.experiences=1",)),
        (ONLINE, "{er: , finetune: , supcon: {replay_batch_size: 50}}", ()),
    ],
)
def test_images_are_those_that_the_run_will_forward(
    tmp_path: Path,
    execute: Any,
    settings: str,
    strategies: str,
    overrides: tuple[str, ...],
) -> None:
    runs = planned(tmp_path, f"strategies: {strategies}\n", overrides, settings=settings)

    text = shown(runs, tmp_path)

    assert execute(runs, tmp_path) == {}
    lines = [line for line in text.splitlines() if ", seed 0" in line]
    for line, run in zip(lines, runs, strict=True):
        foreseen = int(re.search(r"missing +│ +float32 +│ +([\d,]+) ", line)[1].replace(",", ""))  # type: ignore[index]
        forwarded = RunFolder(tmp_path / run.folder).last_metrics()["cost/images"]
        # Online, the first batches have less of a memory.
        assert 0.93 * foreseen <= forwarded <= foreseen, run.name


def test_a_strategy_that_cannot_be_timed_is_named(tmp_path: Path) -> None:
    text = (STRATEGIES / "er.py").read_text()
    write_suite(
        tmp_path / "own", text + "\n\ndef build(*_):\n    raise OSError('no luck')\n", "a.py"
    )
    write_suite(tmp_path / "own", text, "b.py")
    runs = planned(tmp_path, "strategies: {a: , b: }\n", strategies=tmp_path / "own")

    text = shown(runs, tmp_path)

    assert "Not counted: a: OSError: no luck" in text
    assert re.search(r"b, seed 0 .* [\d.]+ .*s .* MB", text)


def test_runs_at_once_share_the_time(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simo_cl.harness.preview.usable_cores", lambda: 2)

    assert "left to do: 2 runs, 2 at once" in shown(runs, tmp_path, jobs=8)
    assert "left to do: 2 runs, about" in shown(runs, tmp_path, jobs=1)


def lines_of(terminal: bool, runs: list[Any]) -> list[str]:
    console = Console(width=100, force_terminal=terminal, color_system=None)
    with console.capture() as captured, SuiteProgress(console) as progress:
        progress.begin(runs[:1], finished=len(runs) - 1)
        progress.run_begins(runs[0])
        for step in range(1, 4):
            progress.step(runs[0], step, 3)
        progress.warn("careful")
        progress.run_failed(runs[0], "no such luck")
    return captured.get().splitlines()


def test_progress_is_plain_lines_where_there_is_no_terminal(runs: list[Any]) -> None:
    assert [re.sub(r"\d+ s", "0 s", line) for line in lines_of(False, runs)] == [
        "1 of 2 runs is finished already.",
        "[1/1] er, seed 0 ...",
        "Warning: careful",
        "[1/1] er, seed 0: FAILED: no such luck (0 s)",
    ]


def test_progress_is_live_on_a_terminal(runs: list[Any]) -> None:
    text = "\n".join(lines_of(True, runs))

    assert "\x1b[" in text
    assert "er, seed 0: FAILED: no such luck" in text
    assert "er, seed 0 ..." not in text


def test_points_of_a_grid_are_told_apart(tmp_path: Path) -> None:
    runs = planned(tmp_path, "strategies: {er: }\ngrid: {memory.size: [20, 40]}\n")
    for run in runs:
        RunFolder(tmp_path / run.folder).start(run.config, DataRecord.of(load_data("digits")), {})
        RunFolder(tmp_path / run.folder).finish()

    text = shown(runs, tmp_path)

    assert "er[memory.size=20], seed 0" in text
    assert "er[memory.size=40], seed 0" in text
