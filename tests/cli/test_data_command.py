from __future__ import annotations

from pathlib import Path

from project import Project


def test_data_check_says_what_is_found(project: Project, tmp_path: Path) -> None:
    result = project.call("data", "check", "--data-root", tmp_path)

    assert result.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│" in line}
    assert "yes" in lines["digits"]
    assert "no" in lines["cifar100"]


def test_data_fetch_says_what_cannot_be_fetched(project: Project) -> None:
    for name, message in (
        ("digits", "digits: nothing to download. It comes with scikit-learn."),
        ("cifar11", "Did you mean 'cifar10'?"),
    ):
        result = project.call("data", "fetch", name)

        assert result.exit_code == 2
        assert message in result.output
