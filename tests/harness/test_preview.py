from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import planned

from simo_cl.harness.preview import preview_table
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.run_folder import RunFolder
from simo_cl.streams import load_data


@pytest.fixture
def runs(tmp_path: Path) -> list[Any]:
    return planned(tmp_path, "strategies: {er: , joint: }\n", ("training.epochs=2",))


def shown(runs: list[Any], folder: Path) -> str:
    console = Console(width=150)
    with console.capture() as captured:
        table = preview_table(runs, folder, load_data("digits"), torch.device("cpu"))
        console.print(table)
    return captured.get()


def test_images_state_time_and_disk_of_each_run(tmp_path: Path, runs: list[Any]) -> None:
    RunFolder(tmp_path / runs[0].folder).start(runs[0], load_data("digits"), {})
    RunFolder(tmp_path / runs[0].folder).finish()

    text = shown(runs, tmp_path)

    assert "2 runs in" in text
    er, joint = (line for line in text.splitlines() if ", seed 0" in line)
    assert re.search(r"finished .* float32 .* 2,694 ", er)
    assert re.search(r"missing .* float32 .* 2,694 .* \d+ min \d\d s .* MB", joint)
    assert "left to do: at least" in text


def test_what_is_finished_is_not_left_to_do(tmp_path: Path, runs: list[Any]) -> None:
    for run in runs:
        RunFolder(tmp_path / run.folder).start(run, load_data("digits"), {})
        RunFolder(tmp_path / run.folder).finish()

    assert "left to do: at least 0 min 00 s on cpu, about 0 MB" in shown(runs, tmp_path)


def test_held_out_images_are_not_counted(tmp_path: Path) -> None:
    runs = planned(tmp_path, "strategies: {er: }\n", ("training.epochs=1", "stream.validation=0.5"))

    assert " 674 " in shown(runs, tmp_path)


def lines_of(terminal: bool, runs: list[Any]) -> list[str]:
    console = Console(width=100, force_terminal=terminal, color_system=None)
    with console.capture() as captured, SuiteProgress(console) as progress:
        progress.begin(runs[:1], runs[1:])
        progress.run_begins(runs[0])
        for step in range(1, 4):
            progress.step(runs[0], step, 3)
        progress.warn("careful")
        progress.run_failed(runs[0], "no such luck")
    return captured.get().splitlines()


def test_progress_is_plain_lines_where_there_is_no_terminal(runs: list[Any]) -> None:
    assert [re.sub(r"\d+ s", "0 s", line) for line in lines_of(False, runs)] == [
        "1 of 2 runs are finished already.",
        "[1/1] er, seed 0 ...",
        "Warning: careful",
        "[1/1] er, seed 0: FAILED: no such luck (0 s)",
    ]


def test_progress_is_live_on_a_terminal(runs: list[Any]) -> None:
    text = "\n".join(lines_of(True, runs))

    assert "\x1b[" in text
    assert "er, seed 0: FAILED: no such luck" in text
    assert "er, seed 0 ..." not in text
