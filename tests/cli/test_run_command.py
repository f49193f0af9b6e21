"""Suites run, and say how it went."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from project import DEAD_SERVER, Project
from typer.testing import Result


class TestARunWithFailures:
    def test_says_what_failed_and_why_and_exits_with_1(self, mixed: tuple[Project, Result]) -> None:
        _, result = mixed

        assert result.exit_code == 1
        assert "Failed: raises, seed 0: RuntimeError: no such luck (traceback in " in result.output
        assert (
            "Failed: diverges, seed 0: DivergedError: the loss of Naive became NaN or infinite"
            in result.output
        )

    def test_goes_on_with_the_other_runs(self, mixed: tuple[Project, Result]) -> None:
        project, result = mixed

        assert "[3/3] finetune, seed 0: average accuracy" in result.output
        assert project.state("mixed", "finetune") == "finished"
        summary = pd.read_csv(project.results / "mixed" / "summary.csv")
        assert summary["strategy"].tolist() == ["finetune"]
        page = (project.results / "mixed" / "report.html").read_text()
        assert "no such luck" in page

    def test_keeps_what_was_written(self, mixed: tuple[Project, Result]) -> None:
        project, _ = mixed
        folder = project.run_folder("mixed", "diverges")

        assert project.state("mixed", "diverges") == "failed"
        (line,) = (folder / "metrics.jsonl").read_text().splitlines()
        assert json.loads(line)["experience"] == 0
        assert "DivergedError" in (folder / "log.txt").read_text()
        raises = json.loads((project.run_folder("mixed", "raises") / "status.json").read_text())
        assert raises["state"] == "failed"
        assert raises["error"]["message"] == "no such luck"
        assert "in build" in raises["error"]["traceback"]

    def test_shows_no_warning_of_a_library(self, mixed: tuple[Project, Result]) -> None:
        assert "Warning" not in mixed[1].output

    def test_can_be_looked_at_in_mlflow(self, mixed: tuple[Project, Result]) -> None:
        project, _ = mixed

        assert (project.results / "mixed" / "mlflow.db").is_file()


def test_a_suite_runs_what_is_missing_and_only_that(project: Project) -> None:
    suite = project.suite("finetune", "er")
    first = project.call("run", suite, "--strategies", "finetune", "--seeds", "1")
    assert first.exit_code == 0, first.output
    assert "[1/1] finetune, seed 1: average accuracy" in first.output
    assert project.planned("tiny") == [("finetune", 1)]
    written = (project.run_folder("tiny", "finetune", 1) / "status.json").stat().st_mtime_ns

    silent = project.call("run", suite, "--strategies", "finetune", "--tracking-uri", DEAD_SERVER)

    assert silent.exit_code == 0
    assert "[1/1] finetune, seed 0: average accuracy" in silent.output
    assert silent.output.count("Warning: MLflow") == 1
    assert f"MLflow is not up to date: the MLflow server {DEAD_SERVER} does not answer" in (
        silent.output
    )
    assert f"simo-cl sync {project.results / 'tiny'} --tracking-uri {DEAD_SERVER}" in silent.output
    assert project.planned("tiny") == [("finetune", 0), ("finetune", 1)]
    runs = pd.read_csv(project.results / "tiny" / "runs.csv")
    assert runs["seed"].tolist() == [0, 1]
    same = (project.run_folder("tiny", "finetune", 1) / "status.json").stat().st_mtime_ns
    assert same == written

    plan = (project.results / "tiny" / "plan.json").read_text()
    other = ("run", suite, "--strategies", "er", "--set", "memory.size=20")
    refused, preview = project.call(*other), project.call(*other, "--dry-run")

    for result in (refused, preview):
        assert result.exit_code == 2
        assert "finetune (2 runs): memory.size is 40 there, 20 here" in result.output
    assert "er, seed 0" in preview.output
    assert (project.results / "tiny" / "plan.json").read_text() == plan
    replaced = project.call(*other, "--replace", "--tracking-uri", DEAD_SERVER)
    assert replaced.exit_code == 0
    assert project.planned("tiny") == [("er", 0)]


def test_a_suite_in_which_everything_fails_says_so(project: Project) -> None:
    result = project.call("run", project.suite("raises"), "--tracking-uri", DEAD_SERVER)

    assert result.exit_code == 1
    assert "Failed: raises, seed 0: RuntimeError: no such luck" in result.output
    assert "Traceback" not in result.output


def test_an_interrupted_suite_goes_on_from_there(project: Project) -> None:
    suite = project.suite("interrupted", "finetune")

    result = project.call("run", suite, "--tracking-uri", DEAD_SERVER)

    assert result.exit_code == 130
    assert "the same command goes on from there" in result.output
    assert project.state("tiny", "interrupted") == "running"
    preview = project.call("run", suite, "--dry-run")
    assert preview.exit_code == 0
    assert "running" in preview.output
    assert "missing" in preview.output


def test_dry_run_says_what_would_run_and_writes_nothing(project: Project) -> None:
    result = project.call("run", project.suite("er", "simo"), "--dry-run", "--seeds", "0,1")

    assert result.exit_code == 0
    assert "4 runs in" in result.output
    assert "simo, seed 1" in result.output
    assert "left to do: 4 runs, about" in result.output
    assert "more" in result.output
    assert not project.results.exists()


def test_a_memory_of_all_training_images_gets_a_warning(project: Project) -> None:
    suite = project.suite("finetune")

    all_of_them = project.call("run", suite, "--dry-run", "--set", "memory.size=1347")
    fewer = project.call("run", suite, "--dry-run", "--set", "memory.size=1346")

    assert "memory.size is 1,347, and digits has 1,347 training images" in all_of_them.output
    assert "training images" not in fewer.output


def test_more_threads_than_cores_get_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simo_cl.harness.diagnosis.usable_cores", lambda: 4)
    suite, options = project.suite("er", "raises"), ("--dry-run", "--seeds", "0,1,2")

    many = project.call("run", suite, *options, "--jobs", "8", "--set", "training.threads=2")
    few = project.call("run", suite, *options, "--jobs", "2", "--set", "training.threads=2")

    assert "6 runs at once with 2 threads each (training.threads) on 4 cores" in many.output
    assert "Try --set training.threads=1 or --jobs 2" in many.output
    assert "threads each" not in few.output
