from __future__ import annotations

from project import Project
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
