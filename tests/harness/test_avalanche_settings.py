from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simo_cl.harness.avalanche_settings import write_avalanche_settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where they lie in the home folder of a new user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path / ".avalanche" / "config.json"


def test_they_are_those_that_avalanche_writes(settings: Path) -> None:
    # Its module alone: all of it takes seconds to import.
    alone = (
        "import importlib.util, runpy; at = importlib.util.find_spec('avalanche').origin;"
        "runpy.run_path(at.replace('__init__', 'benchmarks/datasets/dataset_utils'))"
    )
    subprocess.run([sys.executable, "-c", alone], env=os.environ, check=True)
    written_by_avalanche = settings.read_text()
    settings.unlink()

    write_avalanche_settings()

    assert settings.read_text() == written_by_avalanche
    assert [path.name for path in settings.parent.iterdir()] == ["config.json"]


def test_an_account_without_a_home_is_left_to_avalanche(monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwuid(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", getpwuid)
    with pytest.raises(RuntimeError, match="home"):
        Path("~").expanduser()

    write_avalanche_settings()


def test_a_users_own_are_left_alone(settings: Path) -> None:
    settings.parent.mkdir()
    settings.write_text('{"dataset_location": "/elsewhere"}')

    write_avalanche_settings()

    assert json.loads(settings.read_text()) == {"dataset_location": "/elsewhere"}


def test_an_empty_file_of_a_process_that_was_killed_is_filled(settings: Path) -> None:
    settings.parent.mkdir()
    settings.touch()

    write_avalanche_settings()

    assert "dataset_location" in json.loads(settings.read_text())


def test_a_home_that_is_none_is_for_avalanche_to_complain_of(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(settings.parent / "file"))
    monkeypatch.setenv("USERPROFILE", str(settings.parent / "file"))
    settings.parent.mkdir()
    (settings.parent / "file").touch()

    write_avalanche_settings()

    assert (settings.parent / "file").is_file()


def test_whatever_of_the_harness_is_imported_they_are_written(settings: Path) -> None:
    subprocess.run([sys.executable, "-c", "import simo_cl.harness"], env=os.environ, check=True)

    assert settings.exists()
