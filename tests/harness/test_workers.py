"""Several runs at once, in processes that stay."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from rich.console import Console
from tiny import planned

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_suite import execute_runs
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import digest_of_plugins, load_plugins
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.user_files import UserFile
from simo_cl.harness.workers import default_jobs, devices_for, execute_in_workers
from simo_cl.results import RunFolder

pytestmark = pytest.mark.slow

MINE = """\
from avalanche.training.supervised import Naive
from simo_cl.harness.settings import StrategySettings
from _beside import end
SEARCH_SPACE = {}
class Settings(StrategySettings):
    how: str = "raise"
def build(setup, settings):
    if settings.how == "raise":
        raise ValueError("no such luck")
    if settings.how == "die":
        end(7)
    return Naive(**setup.stock_arguments(setup.classifier(), settings.lr), plugins=[setup.budget()])
"""
ENCODER = """\
from torch import nn
from simo_cl.models import register_encoder
def build(channels, width, norm):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), 8
register_encoder("mine", build)
"""


@pytest.fixture(scope="module")
def strategies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategies")
    for name in ("first", "second", "third"):
        (folder / f"{name}.py").write_text(MINE)
    (folder / "_beside.py").write_text("import os\n\ndef end(code):\n    os._exit(code)\n")
    return folder


def in_two_processes(
    runs: Sequence[PlannedRun], folder: Path, plugins: UserFile | None = None
) -> dict[str, str]:
    with SuiteProgress(Console(quiet=True)) as progress:
        return execute_runs(
            runs,
            folder,
            data=checked_data(runs, None),
            device=torch.device("cpu"),
            progress=progress,
            jobs=2,
            plugins=plugins,
        )


def results(folder: Path, run: PlannedRun) -> list[dict[str, float]]:
    """The metrics of a run, but for times."""
    lines = (folder / run.folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line)["metrics"].items() if not k.endswith("_seconds")}
        for line in lines
    ]


def test_runs_give_the_same_numbers_at_any_time_in_any_process(
    execute: Any, tmp_path: Path
) -> None:
    runs = planned(tmp_path, "strategies: {er: , simo: }\nseeds: [0, 1]\n")
    assert in_two_processes(runs, tmp_path / "forth") == {}
    assert in_two_processes(runs[::-1], tmp_path / "back") == {}
    execute(runs, tmp_path / "here")
    for run in runs:
        first = results(tmp_path / "forth", run)
        assert first == results(tmp_path / "back", run)
        assert first == results(tmp_path / "here", run)


def test_a_process_gives_a_run_the_same_numbers_first_and_last(tmp_path: Path) -> None:
    er, simo = planned(tmp_path, "strategies: {er: , simo: }\n")
    ended: list[tuple[str, str | None, list[dict[str, float]]]] = []

    def listener(run: PlannedRun, kind: str, *content: Any) -> None:
        if kind == "ended":
            ended.append((run.name, *content, results(tmp_path, run)))

    execute_in_workers(
        [er, simo, er],
        1,
        tmp_path,
        data=checked_data([er, simo], None),
        device=torch.device("cpu"),
        plugins=None,
        listener=listener,
    )

    first, between, last = ended
    assert first == last
    assert [first[:2], between[:2]] == [("er, seed 0", None), ("simo, seed 0", None)]
    assert len(first[2]) == 2


def test_a_process_that_dies_with_nothing_to_do_is_replaced(tmp_path: Path) -> None:
    first, second = planned(tmp_path, "strategies: {er: }\nseeds: [0, 1]\n")
    ended: list[tuple[str, str | None]] = []

    def listener(run: PlannedRun, kind: str, *content: Any) -> None:
        if kind not in ("ended", "lost"):
            return
        ended.append((run.name, *content))
        for child in multiprocessing.active_children():
            child.kill()
            child.join()

    execute_in_workers(
        [first, second],
        1,
        tmp_path,
        data=checked_data([first, second], None),
        device=torch.device("cpu"),
        plugins=None,
        listener=listener,
    )

    assert ended == [("er, seed 0", None), ("er, seed 1", None)]


def test_a_run_that_fails_or_dies_leaves_the_others_alone(tmp_path: Path, strategies: Path) -> None:
    text = (
        "strategies:\n  first: {how: raise}\n  second: {how: die}\n  third: {how: work}\n"
        "seeds: [0, 1]\n"
    )
    runs = planned(tmp_path, text, strategies=strategies)
    failed = in_two_processes(runs, tmp_path)
    assert set(failed) == {
        f"{name}, seed {seed}" for name in ("first", "second") for seed in (0, 1)
    }
    assert "ValueError: no such luck (traceback in " in failed["first, seed 0"]
    assert "ended with exit code 7" in failed["second, seed 0"]
    states = {run.name: RunFolder(tmp_path / run.folder).state for run in runs}
    assert states["second, seed 1"] == "failed"
    assert states["third, seed 1"] == "finished"


def test_processes_execute_what_a_run_was_planned_with(tmp_path: Path, strategies: Path) -> None:
    text = "strategies:\n  first: {how: work}\n  third: {how: work}\n"
    runs = planned(tmp_path, text, strategies=strategies)
    before = (strategies / "third.py").read_text()
    (strategies / "third.py").write_text("raise RuntimeError('changed meanwhile')\n")
    try:
        assert in_two_processes(runs, tmp_path) == {}
    finally:
        (strategies / "third.py").write_text(before)


def test_processes_have_the_plugins_that_the_command_has_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import _beside\n" + ENCODER)
    (tmp_path / "_beside.py").write_text("")
    two = "strategies: {er: }\nseeds: [0, 1]\n"
    plugins = load_plugins(path)
    digest = digest_of_plugins(plugins)
    runs = planned(tmp_path, two, ("model.encoder=mine",), plugins=digest)
    (tmp_path / "_beside.py").write_text("raise RuntimeError('changed meanwhile')\n")
    assert in_two_processes(runs, tmp_path, plugins) == {}


def test_a_process_that_cannot_begin_says_why(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    # A second import would find the name taken, and say that instead.
    path.write_text(ENCODER.replace('"mine"', '"halfway"') + "raise RuntimeError('not here')\n")
    plugins = UserFile.read(path)
    runs = planned(
        tmp_path, "strategies: {er: }\nseeds: [0, 1]\n", plugins=digest_of_plugins(plugins)
    )
    failed = in_two_processes(runs, tmp_path, plugins)
    for run in runs:
        assert "could not begin it: --plugins" in failed[run.name]
        assert "not here" in failed[run.name]
        assert RunFolder(tmp_path / run.folder).state == "failed"


def test_gpus_are_used_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [d.index for d in devices_for(3, torch.device("cuda"))] == [0, 1, 0]
    assert [d.index for d in devices_for(2, torch.device("cuda:1"))] == [1, 1]
    assert devices_for(2, torch.device("cpu")) == [torch.device("cpu")] * 2


@pytest.mark.parametrize(
    ("device", "cores", "gibibytes", "threads", "seeds", "jobs"),
    [
        ("cpu", 2, 8, 1, 24, 2),
        ("cpu", 16, 64, 2, 24, 8),
        ("cpu", 64, 256, 1, 24, 24),
        ("cpu", 16, 8, 1, 24, 4),
        ("cpu", 2, 1, 4, 24, 1),
        ("cpu", 2, 8, 1, 3, 2),
        ("cpu", 2, 8, 1, 0, 1),
        ("cuda", 16, 64, 1, 24, 1),
    ],
    ids=["a laptop", "two threads", "few runs a core", "little memory", "none", "3", "0", "a GPU"],
)
def test_as_many_runs_at_once_as_have_a_core_for_each_thread(
    device: str,
    cores: int,
    gibibytes: int,
    threads: int,
    seeds: int,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Mock()
    run.settings.training.threads = threads
    monkeypatch.setattr("simo_cl.harness.workers.usable_cores", lambda: cores)
    memory = Mock(return_value=Mock(total=gibibytes * 2**30))
    monkeypatch.setattr("simo_cl.harness.workers.psutil.virtual_memory", memory)

    assert default_jobs([run] * seeds, torch.device(device)) == jobs
