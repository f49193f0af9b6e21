"""`doctor` says what a machine has and what is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from project import Project

from simo_cl.harness import diagnosis, precision


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_SECONDS_A_CELL", 0.0)
    monkeypatch.setattr(diagnosis, "usable_cores", lambda: 2)
    monkeypatch.setattr(diagnosis, "thread_numbers", lambda _: [1])


def test_a_suite_on_this_machine(project: Project) -> None:
    threads = ("--set", "training.threads=2")
    result = project.call("doctor", project.suite("er"), "--device", "cpu", *threads)
    assert result.exit_code == 0, result.output
    assert precision.instruction_set() in result.output
    assert "Training images a second: small_cnn, width 4, 1 x 8 x 8" in result.output
    assert "model.precision: auto stands for" in result.output
    assert "--set training.threads=1" in result.output
    assert "Nothing is off." in result.output


def test_what_is_off_is_said_and_measured_all_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    result = project.call(
        "doctor",
        project.suite("er"),
        *("--device", "cpu", "--data-root", tmp_path / "nothing"),
        *("--set", "data.name=cifar10", "--set", "model.precision=bfloat16"),
    )
    assert result.exit_code == 1
    assert "Training images a second" in result.output
    assert "Measuring, in each precision" in result.output
    assert "Off: cifar10: not found" in result.output
    assert "Off: model.precision is bfloat16, which this CPU's convolutions" in result.output


def test_an_unknown_encoder_is_refused(project: Project) -> None:
    result = project.call("doctor", project.suite("er"), "--set", "model.encoder=small_cn")
    assert result.exit_code == 2
    assert "which is no encoder" in result.output
    assert "Did you mean 'small_cnn'?" in result.output


def test_without_a_suite_the_usual_encoder_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_images_a_second", lambda *_: 1.0)
    result = project.call("doctor", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "slim_resnet18, width 20, 3 x 32 x 32" in result.output
    assert "simo-cl run SUITE --set training.threads=1" in result.output
    assert " --jobs 2 --device cpu\n" in result.output


def test_what_was_given_is_in_what_is_recommended(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_images_a_second", lambda *_: 1.0)
    folder = project.suites / "my own"
    folder.mkdir()
    suite = project.suite("er").rename(folder / "tiny.yaml")
    given = ("--set", "model.width=8", "--set", "training.threads=2")
    result = project.call("doctor", suite, "--device", "cpu", *given)
    assert f"simo-cl run '{suite}' --set model.width=8 --set training.threads=1" in result.output


def test_nothing_is_recommended_that_was_not_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_images_a_second", lambda *_: 1.0)
    meta = torch.device("meta")
    monkeypatch.setattr("simo_cl.harness.environment.choose_device", lambda _: meta)
    result = project.call("doctor")
    assert result.exit_code == 0, result.output
    assert "simo-cl run SUITE\n" in result.output


def test_a_setting_of_no_suite_is_refused(project: Project) -> None:
    result = project.call("doctor", "--set", "model.encoder=airnet")
    assert result.exit_code == 2
    assert "--set model.encoder=airnet: there is no suite whose setting" in result.output


def test_a_busy_machine_is_told_before_what_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_images_a_second", lambda *_: 1.0)
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 63.2)
    busy = project.call("doctor", "--device", "cpu")
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 3.0)
    idle = project.call("doctor", "--device", "cpu")
    assert busy.exit_code == idle.exit_code == 0
    warning, measured, _ = busy.output.partition("Training images a second")
    assert "Warning: other processes keep this machine 63 % busy" in warning
    assert measured
    assert "Warning" not in idle.output


def test_a_folder_that_is_not_there_is_named_at_once(project: Project) -> None:
    result = project.call("doctor", project.suite("er"), "--data-root", "nowhere")
    assert result.exit_code == 2
    assert "--data-root nowhere: there is no folder" in result.output
    assert "This machine" not in result.output
