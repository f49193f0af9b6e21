from __future__ import annotations

import pytest
from project import Project


@pytest.mark.parametrize("command", ["report", "sync", "ui"])
@pytest.mark.parametrize("plan", ['{"suite": "tiny", "runs": [{}]}', "7", "null"])
def test_a_malformed_plan_is_told_in_words(command: str, plan: str, project: Project) -> None:
    folder = project.results / "tiny"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(plan)

    result = project.call(command, folder)

    assert result.exit_code == 2
    assert f"Error: {folder}: plan.json cannot be read: " in result.output
    assert "Running the suite again writes it anew" in result.output
    assert isinstance(result.exception, SystemExit)


def test_run_writes_a_malformed_plan_anew(project: Project) -> None:
    folder = project.results / "tiny"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text('{"suite": "tiny", "runs": [{}]}')

    assert project.call("run", project.suite("finetune"), "--dry-run").exit_code == 0


@pytest.mark.parametrize("command", ["run", "report", "sync", "ui"])
def test_a_newer_plan_is_refused_by_name(command: str, project: Project) -> None:
    folder = project.results / "tiny"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text('{"schema": 2, "suite": "tiny", "runs": []}')
    suite = project.suite("finetune") if command == "run" else folder

    result = project.call(command, suite)

    assert result.exit_code == 2
    assert "plan.json has schema 2, of a newer simo-cl" in result.output
    assert "Upgrade simo-cl" in result.output
