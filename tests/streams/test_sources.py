from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

from simo_cl.harness.plugins import load_plugins
from simo_cl.streams import (
    DataBrokenError,
    DataError,
    DataNotFoundError,
    DataSet,
    UnknownDataError,
    check_data,
    data_source_names,
    fetch_data,
    load_data,
    register_data_source,
)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownDataError, match=r"'cifar-10'.*digits.*Did you mean 'cifar10'"):
        load_data("cifar-10")


def test_missing_data_say_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as error:
        load_data("cifar10", tmp_path)
    message = str(error.value)
    assert str(tmp_path / "cifar10") in message
    assert "simo-cl data fetch cifar10" in message
    assert "digits" in message


def test_the_root_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMO_CL_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataNotFoundError, match="elsewhere"):
        load_data("mnist")


def test_every_source_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == data_source_names()


def test_check_reports_every_source(tmp_path: Path) -> None:
    statuses = {status.name: status for status in check_data(tmp_path)}
    assert list(statuses) == data_source_names()
    assert statuses["digits"].found
    assert not statuses["cifar100"].found
    assert "simo-cl data fetch cifar100" in statuses["cifar100"].detail


def test_there_is_nothing_to_fetch_for_digits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="comes with scikit-learn"):
        fetch_data("digits", tmp_path)


def test_a_source_of_ones_own(tmp_path: Path, tiny_data: DataSet) -> None:
    seen: list[Path] = []

    def load(root: Path) -> DataSet:
        seen.append(root)
        if not (root / "mine").exists():
            raise DataBrokenError("mine is damaged")
        return tiny_data

    register_data_source("mine", load, description="mine", how_to_get="Ask me.")
    assert not check_data(tmp_path)[-1].found
    (tmp_path / "mine").touch()
    assert load_data("mine", tmp_path) is tiny_data
    assert seen == [tmp_path, tmp_path]
    assert check_data(tmp_path)[-1].detail == "91 + 28 images"
    with pytest.raises(ValueError, match="there is a data set 'mine' already"):
        register_data_source("mine", load, description="", how_to_get="")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", r"gave a NoneType: load\(root\) must return a simo_cl.streams.DataSet"),
        ("return ([], [])", r"gave a tuple: load\(root\) must return"),
        ("return 1 / 0", "failed at line 4: ZeroDivisionError: division by zero"),
        ("return open(root / 'mine.pt')", "failed at line 4: FileNotFoundError.*mine.pt"),
        ("return int(object())", "failed at line 4: TypeError.*\n  To get the data: Ask me."),
    ],
)
def test_a_source_that_fails_is_named_with_its_file(
    tmp_path: Path, body: str, message: str
) -> None:
    file = tmp_path / "my_data.py"
    file.write_text(
        "from simo_cl.streams import register_data_source\n"
        "\n"
        "def load(root):\n"
        f"    {body}\n"
        "\n"
        "register_data_source('mine', load, description='mine', how_to_get='Ask me.')\n"
    )
    load_plugins(file)
    with pytest.raises(DataBrokenError, match=f"the data source 'mine' of {file} {message}"):
        load_data("mine", tmp_path)
    assert str(file) in check_data(tmp_path)[-1].detail


def test_a_source_must_be_a_function(tiny_data: DataSet) -> None:
    with pytest.raises(TypeError, match="'mine' is of type DataSet; give the function itself"):
        register_data_source("mine", tiny_data, description="", how_to_get="")


def test_names_are_known_without_torch() -> None:
    code = (
        "import sys, simo_cl.streams as s; s.data_source_names(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
