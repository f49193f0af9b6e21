"""The tiny suite, run once for all tests of a module that only look at what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from simo_cl.harness.execute_suite import Outcome, checked_data, execute_runs
from simo_cl.harness.plan import Run
from simo_cl.harness.progress import SuiteProgress

Execute = Callable[[Sequence[Run], Path], Outcome]


@pytest.fixture(scope="session")
def execute() -> Execute:
    """Executes runs below a folder, without MLflow and report."""

    def execute(runs: Sequence[Run], folder: Path) -> Outcome:
        with SuiteProgress(Console(quiet=True)) as progress:
            return execute_runs(
                runs,
                folder,
                data=checked_data(runs, None),
                device=torch.device("cpu"),
                progress=progress,
            )

    return execute
