"""Runs of a suite, executed for what they take or leave behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.execute_suite import execute_runs, write_plan
from simo_cl.harness.plan import plan_runs
from simo_cl.harness.plugins import digest_of_plugins, load_plugins
from simo_cl.harness.precision import precision_of
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet

SUITES = Path(__file__).resolve().parents[1]
STRATEGIES = SUITES.parent / "strategies"
QUICKSTART, SPLIT_CIFAR10 = SUITES / "quickstart.yaml", SUITES / "split_cifar10.yaml"
CPU = torch.device("cpu")


class _Heard(SuiteProgress):
    """Keeps the warnings."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class SuiteRuns:
    """Some strategies of a suite file with a folder for their results.

    `overrides` are settings as ``--set`` takes them; `data` are by default the suite's, which lie
    in `data_root`.
    """

    def __init__(
        self,
        path: Path,
        strategies: Iterable[str],
        folder: Path,
        *overrides: str,
        seeds: Iterable[int] = (0,),
        data: DataSet | None = None,
        data_root: Path | None = None,
        device: torch.device = CPU,
        plugins: Path | None = None,
    ) -> None:
        file = read_suite(path, overrides)
        own = {name: file.suite.strategies.get(name, {}) for name in strategies}
        update = {"seeds": tuple(seeds), "control": None, "strategies": own}
        self.suite = file.suite.model_copy(update=update)
        self.folder, self.device = folder, device
        self.plugins = None if plugins is None else load_plugins(plugins)
        digest = digest_of_plugins(self.plugins)
        precision = precision_of(device)
        self.runs = plan_runs(self.suite, STRATEGIES, file.locations, precision, digest)
        self.data = checked_data(self.runs, data_root) if data is None else data
        write_plan(folder, self.suite, self.runs, command="", data=self.data)

    def execute(self, **options: Any) -> None:
        """Executes them, with options of :func:`execute_runs`.

        Raises:
            RuntimeError: a run failed.
        """
        options |= {"data": self.data, "device": self.device, "plugins": self.plugins}
        with _Heard(Console(quiet=True)) as heard:
            failed = execute_runs(self.runs, self.folder, progress=heard, **options)
        self.warnings = heard.warnings
        if failed:
            raise RuntimeError("; ".join(failed.values()))

    def last_metrics(self) -> dict[str, float]:
        """Of the first run."""
        return RunFolder(self.folder / self.runs[0].folder).last_metrics()
