from __future__ import annotations

from pathlib import Path

import pytest
from project import Project


def test_data_check_says_what_is_found(project: Project, tmp_path: Path) -> None:
    result = project.call("data", "check", "--data-root", tmp_path)

    assert result.exit_code == 0
    lines = {line.split("│")[1].strip(): line for line in result.output.splitlines() if "│" in line}
    assert "yes" in lines["digits"]
    assert "no" in lines["cifar100"]


def test_data_check_says_where_it_looked(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "[old]"
    root.mkdir()

    result = project.call("data", "check", "--data-root", root)

    assert result.exit_code == 0
    assert f"Looked in {root} and" in result.output


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_data_check_fails_where_there_is_no_such_folder(
    project: Project, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()

    result = project.call("data", "check", "--data-root", tmp_path / name)

    assert result.exit_code == 1
    assert f"Looked in {tmp_path / name} and" in result.output
    assert "There is no such folder. Name the one with your data by" in result.output
    assert "1347 + 450 images" in result.output


def test_data_check_looks_for_sources_of_ones_own(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "my_data.py"
    file.write_text(
        "from simo_cl.streams import register_data_source\n"
        "register_data_source('mine', lambda root: None, description='', how_to_get='')\n"
    )

    result = project.call("data", "check", "--data-root", tmp_path, "--plugins", file)

    assert result.exit_code == 0
    assert "gave a NoneType" in result.output


def test_data_fetch_says_what_cannot_be_fetched(project: Project) -> None:
    for name, message in (
        ("digits", "digits: nothing to download. It comes with scikit-learn."),
        (
            "cifar11",
            "'cifar11' is no data set that can be downloaded; there are cifar10, cifar100, mnist, "
            "fashion_mnist, kmnist. Did you mean 'cifar10'?",
        ),
    ):
        result = project.call("data", "fetch", name)

        assert result.exit_code == 2
        assert message in result.output
