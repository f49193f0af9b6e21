"""Runs of a suite, executed for what they take or leave behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from simo_cl.harness.execute_suite import execute_runs
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "benchmarks" / "quickstart.yaml"
SPLIT_CIFAR10 = ROOT / "benchmarks" / "split_cifar10.yaml"
SIMO_CL = [sys.executable, "-c", "from simo_cl.cli import app; app()"]
CPU = torch.device("cpu")


def finish(runs: list[PlannedRun], folder: Path, **options: Any) -> None:
    """Executes runs and shows nothing of it.

    Args:
        runs: of one suite.
        folder: that their folders are relative to.
        options: of :func:`execute_runs`.

    Raises:
        RuntimeError: a run failed.
    """
    with SuiteProgress(Console(quiet=True)) as progress:
        outcome = execute_runs(runs, folder, progress=progress, **options)
    if outcome.failed:
        raise RuntimeError(f"a run failed: {outcome.failed}")
