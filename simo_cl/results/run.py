"""One planned run: what its folder holds, and in words what it lacks."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simo_cl.results.arrays import Arrays, read_arrays
from simo_cl.results.config import read_config
from simo_cl.results.history import HISTORY, Measured, read_history
from simo_cl.results.labels import run_label
from simo_cl.results.plan import PlanEntry
from simo_cl.results.safe_paths import run_path
from simo_cl.results.schema import NewerSchemaError
from simo_cl.results.status import Failure, RunState, RunStatus, examine
from simo_cl.wording import count

ARRAYS = "arrays.npz"
EMBEDDINGS = "embeddings.npz"
SNAPSHOTS = "snapshots.npz"


@dataclass(frozen=True)
class Source:
    """Which suite a run is of, where several stand side by side.

    Attributes:
        suite: its name there.
        data: the data set, in words, and the names of its classes.
        label: the run's row in its own suite.
    """

    suite: str
    data: tuple[str, tuple[str, ...]]
    label: str


@dataclass(frozen=True)
class Run:
    """One strategy with one seed, as planned, and what its folder holds, as far as it has come.

    Attributes:
        strategy: the suite's entry, which the row is named after.
        name: of its folder, relative to the suite's.
        state: what its status says; "missing" without one, "broken" where a file is not what was
            written.
        problem: in words, why it has not finished; of a finished run, what few figures lack.
        status: None where there is none, or none that can be read.
        config: its settings by section; empty before it has begun.
        history: what was measured after each trained experience.
        faults: what else of its files cannot be read.
        source: None where a suite stands alone.
        built_by: the strategy that the entry names.
    """

    strategy: str
    variant: str
    seed: int
    name: str
    folder: Path
    state: RunState
    problem: str = ""
    status: RunStatus | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Measured, ...] = ()
    faults: tuple[str, ...] = ()
    source: Source | None = None
    built_by: str = ""

    @property
    def label(self) -> str:
        """The name of the run's row in every table: the strategy, and its variant if any."""
        return run_label(self.strategy, self.variant)

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions and hardware of the last attempt."""
        return self.status.environment if self.status else {}

    @property
    def started(self) -> float | None:
        """Unix, seconds."""
        return self.status.started if self.status else None

    @property
    def ended(self) -> float | None:
        """Unix, seconds."""
        return self.status.ended if self.status else None

    @property
    def seconds(self) -> float | None:
        """Wall-clock of the whole run, evaluation included."""
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started

    @property
    def error(self) -> Failure | None:
        """What it failed with."""
        return self.status.error if self.status else None

    @property
    def final(self) -> Mapping[str, float]:
        """The metrics after the last experience; empty for a run that has not finished."""
        return self.history[-1].metrics if self.history and self.state == "finished" else {}

    @property
    def is_joint(self) -> bool:
        """Whether the run saw all classes at once, so that it has one row of accuracies."""
        matrices = [array for name, array in self._arrays.items() if name.startswith("accuracy/")]
        return bool(matrices) and matrices[0].shape[0] == 1 and matrices[0].shape[1] > 1

    def array(self, name: str) -> np.ndarray | None:
        """The array of that name in arrays.npz, or None if the run has none."""
        return self._arrays.get(name)

    def embedding_sample(self, name: str) -> np.ndarray | None:
        """The array of that name in embeddings.npz (the final model's sample), or None."""
        return self._pictures[0][EMBEDDINGS].get(name)

    def snapshot_sample(self, name: str) -> np.ndarray | None:
        """The array of that name in snapshots.npz (the same images after each experience)."""
        return self._pictures[0][SNAPSHOTS].get(name)

    def embeddings(self) -> Arrays:
        """The final model's sample, by name.

        Raises:
            ValueError: the run has none that can be drawn.
        """
        if not self._pictures[0][EMBEDDINGS]:
            why = self.unusable or f"there is no {EMBEDDINGS}"
            raise ValueError(f"{self.folder} has no embeddings: {why}")
        return dict(self._pictures[0][EMBEDDINGS])

    @property
    def unusable(self) -> str:
        """Which of the arrays for pictures cannot be drawn, and why; "" if all can be."""
        return "; ".join(f"{reason}: not in the pictures" for reason in self._pictures[1])

    @cached_property
    def _pictures(self) -> tuple[dict[str, Arrays], list[str]]:
        """The arrays that can be drawn, by file, and why others cannot."""
        samples: dict[str, Arrays] = {EMBEDDINGS: {}, SNAPSHOTS: {}}
        reasons = []
        for file in samples:
            if not zipfile.is_zipfile(self.folder / file):
                continue
            try:
                arrays = read_arrays(self.folder / file)
            except ValueError as error:
                reasons.append(str(error))
                continue
            unsound = {name: why for name in arrays if (why := _unsoundness(name, arrays))}
            reasons += [f"{name} in {file} {why}" for name, why in unsound.items()]
            samples[file] = {n: array for n, array in arrays.items() if n not in unsound}
        return samples, reasons

    @cached_property
    def _arrays(self) -> Arrays:
        return read_arrays(self.folder / ARRAYS) if self.state == "finished" else {}


def read_run(suite_folder: Path, entry: PlanEntry) -> Run:
    """Reads a run's folder as far as it goes, but for its arrays.

    Raises:
        OutsideError: the entry leads out of the suite's folder.
        NewerSchemaError: a newer simo-cl wrote the run.
    """
    folder = run_path(suite_folder, entry.folder)
    run = Run(
        entry.strategy,
        entry.variant,
        entry.seed,
        entry.folder,
        folder,
        "missing",
        built_by=entry.built_by or entry.strategy,
    )
    try:
        state, problem, status = examine(folder)
    except NewerSchemaError:
        raise
    except OSError as error:
        return replace(run, state="broken", problem=f"it cannot be read: {error}")
    run = replace(run, state=state, problem=problem, status=status)
    if state == "missing":
        there = folder.is_dir()
        return replace(run, problem="its folder has no status.json" if there else "not run yet")
    if state == "broken":
        more = "; running the suite again executes it again"
        return replace(run, problem=f"finished, but {problem}{more}") if status else run
    faults = []
    config: Mapping[str, Any] = {}
    try:
        config = read_config(folder)
    except ValueError as error:
        faults.append(str(error))
    history, fault = read_history(folder, is_finished=state == "finished")
    faults += [fault] if fault else []
    run = replace(run, config=config, history=history, faults=tuple(faults))
    return run if state == "finished" else replace(run, problem=_why_unfinished(run))


def with_arrays_checked(run: Run) -> Run:
    """The same run, but "broken" if it has finished and any of what tables need is absent, torn or
    at odds."""
    if run.state != "finished":
        return run
    if run.faults:
        return _broken(run, run.faults[0])
    try:
        matrices = {n: array for n, array in run._arrays.items() if n.startswith("accuracy/")}
    except ValueError as error:
        return _broken(run, str(error))
    for name, matrix in matrices.items():
        if matrix.ndim != 2:
            return _broken(run, f"{name} in {ARRAYS} has the shape {matrix.shape}")
    own = matrices.get("accuracy/own")
    if own is not None and len(own) != len(run.history):
        return _broken(run, f"{HISTORY} holds {len(run.history)} of {len(own)} experiences")
    if zipfile.is_zipfile(run.folder / EMBEDDINGS):
        return run
    return replace(
        run, problem=f"{EMBEDDINGS} is absent or torn: not in the pictures of embeddings"
    )


def _broken(run: Run, why: str) -> Run:
    return replace(run, state="broken", problem=f"finished, but {why}")


def _why_unfinished(run: Run) -> str:
    """Why a run has not finished, and how far it came."""
    why = "started and not finished: still running, or interrupted"
    if run.error:
        why = f"{run.error.type}: {run.error.message}"
    elif run.state == "failed":
        why = "failed, and does not say why"
    measured = count(len(run.history), "experience") if run.history else "no experiences"
    return f"{why} ({measured} measured)"


def _unsoundness(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Why points (..., N, d) cannot be drawn with their labels (N,), the ones of the same part."""
    points = arrays[name]
    if name.endswith("labels"):
        return ""
    labels = arrays.get(f"{name.rpartition('_')[0]}_labels".removeprefix("_"))
    if not points.size:
        return "is empty"
    if labels is None or points.ndim < 2 or points.shape[-2] != len(labels):
        return f"has the shape {points.shape}, which does not fit its labels"
    return "" if np.isfinite(points).all() else "holds NaN or infinite values"
