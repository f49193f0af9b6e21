"""The tiny suite, run once for all tests of a module that only look at what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import forks
from rich.console import Console
from torch import nn

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_suite import execute_runs
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet

Execute = Callable[..., dict[str, str]]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Runs choose threads and determinism for the whole process; the next test has neither."""
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def weights_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, to be compared bit for bit, in place of a program that takes long to trace."""

    def export(model: nn.Module, layers: Any, data: DataSet, folder: RunFolder) -> None:
        folder.write_arrays("weights", {n: w.numpy() for n, w in model.state_dict().items()})

    monkeypatch.setattr("simo_cl.harness.execute_run.export_model", export)


@pytest.fixture(scope="session", autouse=True)
def _workers_are_forked() -> Iterator[None]:
    """Their processes are, from one that has imported what takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simo_cl.harness.workers.process_context", forks)
        yield


@pytest.fixture(scope="session")
def execute() -> Execute:
    """Executes runs below a folder, without MLflow and report; prints nothing unless told to.

    Gives why they failed, by name.
    """

    def execute(runs: Sequence[PlannedRun], folder: Path, *, quiet: bool = True) -> dict[str, str]:
        with SuiteProgress(Console(quiet=quiet, width=200)) as progress:
            return execute_runs(
                runs,
                folder,
                data=checked_data(runs, None),
                device=torch.device("cpu"),
                progress=progress,
            )

    return execute
