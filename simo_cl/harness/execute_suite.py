"""Execute a suite's runs one after the other, whatever happens to any of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import simo_cl
from simo_cl.harness.execute_run import execute_run, make_benchmark
from simo_cl.harness.plan import Run
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.run_folder import RunFolder
from simo_cl.harness.settings import Suite
from simo_cl.models import build_encoder
from simo_cl.streams import DataError, DataSet, load_data


@dataclass
class Outcome:
    """What came of some runs.

    Attributes:
        failed: a run's name to why.
    """

    finished: list[Run] = field(default_factory=list)
    skipped: list[Run] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def execute_runs(
    runs: Sequence[Run],
    folder: Path,
    *,
    device: torch.device,
    data_root: Path | None,
    progress: SuiteProgress,
    after_each: Callable[[], None] = lambda: None,
) -> Outcome:
    """Executes what is missing or unfinished.

    Args:
        runs: to execute; finished ones are skipped.
        folder: that the run folders are relative to.
        device: to train on.
        data_root: where the data lie.
        progress: told of every step.
        after_each: called after each run, whether it finished or failed.
    """
    outcome = Outcome()
    unfinished = [run for run in runs if RunFolder(folder / run.folder).state != "finished"]
    outcome.skipped = [run for run in runs if run not in unfinished]
    load = functools.cache(lambda name: load_data(name, data_root))
    progress.begin(unfinished, outcome.skipped)
    for run in unfinished:
        run_folder = RunFolder(folder / run.folder)
        progress.run_begins(run)
        try:
            data = load(run.settings.data.name)
            execute_run(run, data, run_folder, device, progress.step)
        except Exception as error:
            run_folder.fail(error)
            outcome.failed[run.name] = _reason(error, run_folder)
            progress.run_failed(run, _reason(error, run_folder))
        else:
            outcome.finished.append(run)
            progress.run_ends(run, run_folder.last_metrics())
        after_each()
    return outcome


class MLflowView:
    """Keeps MLflow equal to a suite's run folders, and training apart from MLflow's troubles.

    Args:
        folder: of the suite.
        tracking_uri: of MLflow; by default the suite's own store.
        warn: told, once, that the store does not answer.

    Attributes:
        problem: why MLflow is not up to date, if it is not.
    """

    def __init__(self, folder: Path, tracking_uri: str | None, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._tracking_uri = tracking_uri
        self._warn = warn
        self.problem: str | None = None

    def update(self) -> None:
        from simo_cl.tracking.mirror import TrackingError, mirror

        try:
            mirror(self._folder, self._tracking_uri)
        except TrackingError as error:
            if self.problem is None:
                self._warn(f"MLflow: {error} The run folders hold everything; training goes on.")
            self.problem = str(error)
        else:
            self.problem = None


def check_runs(runs: Iterable[Run], data: DataSet) -> None:
    """Finds before anything starts what would otherwise fail in the middle.

    Raises:
        ValueError: an unknown encoder or augmentation, a class order that does not fit, more
            experiences than classes, a memory that cannot hold a sample of each class, or a batch
            too small to share between new data and memory.
    """
    runs = list(runs)
    for run in runs:
        _check_sizes(run, data)
    streams = {(run.settings.stream, run.settings.training, run.settings.model) for run in runs}
    for stream, training, model in streams:
        build_encoder(model.encoder, width=1)
        make_benchmark(data, stream, training, seed=0, joint=False)


def _check_sizes(run: Run, data: DataSet) -> None:
    memory, training = run.settings.memory.size, run.settings.training
    if memory < data.num_classes:
        raise ValueError(
            f"memory.size is {memory}; {data.name} has {data.num_classes} classes and each needs a "
            f"sample in the memory, so it must be {data.num_classes} or more"
        )
    views = run.settings.settings.get("views", 1)
    samples = training.batch_size // views
    new = round(samples * training.new_share)
    at_least = max(1, 2 // views)
    if min(new, samples - new) < at_least:
        raise ValueError(
            f"training.batch_size {training.batch_size} with training.new_share "
            f"{training.new_share} and {views} views gives {run.label} {new} new and "
            f"{samples - new} memory samples a step; each needs {at_least} or more"
        )


def write_plan(
    folder: Path, suite: Suite, planned: Iterable[Run], *, command: str, data: DataSet
) -> None:
    """Writes ``plan.json``: what the suite is, and which runs belong to it now."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "suite": suite.name,
        "description": suite.description,
        "control": suite.control,
        "data": data.note,
        "class_names": list(data.class_names),
        "command": command,
        "version": simo_cl.__version__,
        "runs": [
            {
                "strategy": run.settings.strategy,
                "variant": run.variant,
                "seed": run.settings.seed,
                "folder": run.folder.as_posix(),
            }
            for run in planned
        ],
    }
    temporary = folder / "plan.json.partial"
    temporary.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    temporary.replace(folder / "plan.json")


def _reason(error: Exception, folder: RunFolder) -> str:
    if isinstance(error, DataError):
        return str(error)
    return f"{type(error).__name__}: {error} (traceback in {folder.path / 'log.txt'})"
