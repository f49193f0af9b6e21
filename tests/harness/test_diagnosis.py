"""What `simo-cl doctor` measures and finds."""

from __future__ import annotations

import os
import shlex
from importlib import metadata
from typing import Any

import pytest
import torch
from tiny import ROOT

from simo_cl.harness import diagnosis, precision
from simo_cl.harness.diagnosis import (
    Speed,
    core_problems,
    measure,
    recommend,
    thread_numbers,
    wrong_versions,
)
from simo_cl.harness.settings import ModelSettings

CPU = torch.device("cpu")
SMALL = ModelSettings(encoder="small_cnn", width=4)


@pytest.fixture(autouse=True)
def _one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_SECONDS_A_CELL", 0.0)


def test_every_precision_layout_and_number_of_threads_is_measured() -> None:
    before = torch.get_num_threads()
    speeds = list(measure(SMALL, (1, 8, 8), 64, [1], CPU))
    assert {(speed.precision, speed.layout) for speed in speeds} == {
        (precision, layout)
        for precision in ("float32", "bfloat16")
        for layout in ("contiguous", "channels last")
    }
    assert all(speed.images > 0 for speed in speeds)
    assert torch.get_num_threads() == before


def test_what_is_emulated_is_measured_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(diagnosis, "_images_a_second", lambda _, images, *__: len(images))
    speeds = list(measure(SMALL, (1, 8, 8), 64, [1, 2, 4], CPU))
    of_bfloat16 = [speed for speed in speeds if speed.precision == "bfloat16"]
    assert [(speed.threads, speed.images) for speed in of_bfloat16] == 2 * [(1, 8), (2, 8)]
    assert {speed.images for speed in speeds if speed.precision == "float32"} == {32}


@pytest.mark.parametrize(("cores", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
def test_thread_numbers(cores: int, numbers: list[int]) -> None:
    assert thread_numbers(cores) == numbers


SPEEDS = [
    Speed("float32", "contiguous", 1, 100.0),
    Speed("float32", "contiguous", 4, 350.0),
    Speed("bfloat16", "channels last", 1, 90.0),
]


def test_jobs_of_one_thread_are_recommended_where_they_are_faster_together() -> None:
    assert recommend(SPEEDS, 4, CPU) == (SPEEDS[0], 4)


def test_on_a_gpu_one_run_at_a_time_is_recommended() -> None:
    assert recommend(SPEEDS, 4, torch.device("cuda")) == (SPEEDS[1], 1)


def test_what_is_installed_here_is_supported() -> None:
    assert wrong_versions() == []


def test_versions_outside_the_range_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: dict[str, Any] = {"mlflow": "2.9.0", "torch": "2.5.1"}

    def version(name: str) -> str:
        return str(installed.get(name) or metadata.version(name))

    monkeypatch.setattr(diagnosis, "version", version)
    mlflow, torch_ = wrong_versions()
    assert mlflow.startswith("mlflow 2.9.0 is installed; simo-cl supports mlflow<4,>=3.")
    assert torch_.startswith("torch 2.5.1 is installed; simo-cl supports torch>=2.6")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "rich":
            raise metadata.PackageNotFoundError(name)
        return metadata.version(name)

    monkeypatch.setattr(diagnosis, "version", version)
    assert wrong_versions() == ["rich is not installed; simo-cl needs rich>=13"]


def test_a_checkout_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(diagnosis, "requires", requires)
    (told,) = wrong_versions()
    assert told.startswith(f"simo-cl is imported from {ROOT} and not installed")
    assert f"pip install -e {shlex.quote(str(ROOT))}" in told


def test_a_process_pinned_to_one_core_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(diagnosis, "usable_cores", lambda: 1)
    pinned, threads = core_problems(2)
    assert "pinned to one of 8 cores" in pinned
    assert threads.startswith("2 threads each (training.threads) on 1 core: threads that wait")
    assert threads.endswith("Try --set training.threads=1")
    assert len(core_problems(1)) == 1
