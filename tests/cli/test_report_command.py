from __future__ import annotations

import os
import signal

import pytest
from project import Project
from synthetic_suite import write_suite
from typer.testing import Result


def test_report_can_be_written_again(mixed: tuple[Project, Result]) -> None:
    result = mixed[0].call("report", "mixed")

    assert result.exit_code == 0
    table, drawing, page = map(result.output.index, ("finetune", "Drawing", "report.html"))
    assert table < drawing < page


def test_report_and_ui_say_what_has_results(project: Project) -> None:
    (project.results / "other").mkdir(parents=True)
    (project.results / "other" / "plan.json").write_text("{}")

    for command in ("report", "ui"):
        result = project.call(command, project.suite("er"))

        assert result.exit_code == 2
        assert "no results of" in result.output
        assert "other" in result.output


def test_what_is_no_suite_is_told_with_what_could_be(project: Project) -> None:
    project.results.mkdir(parents=True, exist_ok=True)
    for given, why in ((project.results, "this folder has no plan.json"), ("lost", "no such file")):
        result = project.call("report", given)

        assert result.exit_code == 2
        said = " ".join(result.output.split())
        assert why in said
        assert "Give a suite file, a suite's name, or the folder of its results" in said


def test_two_suites_make_one_page(project: Project) -> None:
    for name in ("one", "two"):
        write_suite(
            project.results / name,
            strategies=("er", "simo"),
            seeds=(0, 1),
            experiences=2,
            classes=4,
            sample=4,
        )

    result = project.call("report", "one", project.results / "two")

    page = project.results / "one+two" / "report.html"
    assert result.exit_code == 0, result.output
    assert f"Report: {page}" in result.output
    assert "simo[suite=two]" in result.output
    text = page.read_text(encoding="utf-8")
    assert "er[suite=one]" in text
    assert f"simo-cl report {project.results / 'one'} {project.results / 'two'}" in text
    assert not (project.results / "one" / "report.html").exists()


def test_one_that_is_ended_while_it_draws_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_suite(project.results / "one", strategies=("er",), seeds=(0,), sample=4)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        "simo_cl.report.write_report", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )

    result = project.call("report", "one")

    assert result.exit_code == 143
    assert capfd.readouterr().err == "\nStopping ...\n"
    assert "Interrupted. What is finished is kept" in result.output
    assert signal.getsignal(signal.SIGTERM) is before
