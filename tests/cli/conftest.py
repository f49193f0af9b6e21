from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import spared
import torch
from project import Project
from typer.testing import Result


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Runs choose their number of threads for the whole process; the next test gets one again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _spared(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    spared.leave_out_figures(monkeypatch)
    spared.copy_stores(monkeypatch, empty_store)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Result]:
    """A suite in which one strategy cannot be built, one diverges, and one is fine.

    Nothing is left out of its report and its store.
    """
    project = Project(tmp_path_factory.mktemp("mixed"))
    suite = project.suite("raises", "diverges", "finetune", name="mixed")
    return project, project.call("run", suite)
