"""One planned run: what its folder holds, and in words what it lacks."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from simo_cl.results.checksums import changed_files
from simo_cl.results.safe_paths import run_path
from simo_cl.results.status import RunStatus, read_status

RunState = Literal["finished", "running", "failed", "missing", "broken"]


@dataclass(frozen=True)
class Trained:
    """What was measured after one more experience was trained.

    Attributes:
        experience: 0-based index of the last trained experience.
        metrics: finite values by metric name; what was undefined is absent.
    """

    experience: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One strategy with one seed, as planned, and what its folder holds.

    Only a run whose `state` is "finished" has a `history`; `problem` says in words what is wrong
    with any other, and of a finished one what few figures lack.
    """

    strategy: str
    variant: str
    seed: int
    folder: Path
    state: RunState
    problem: str = ""
    traceback: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    history: tuple[Trained, ...] = ()

    @property
    def label(self) -> str:
        """The name of the run's row in every table: the strategy, and its variant if any."""
        return f"{self.strategy}[{self.variant}]" if self.variant else self.strategy

    @property
    def final(self) -> Mapping[str, float]:
        """The metrics after the last experience; empty for a run that has not finished."""
        return self.history[-1].metrics if self.history else {}

    @property
    def seconds(self) -> float | None:
        """Wall-clock of the whole run, evaluation included."""
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started

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
        return self._drawable("embeddings.npz", name)

    def snapshot_sample(self, name: str) -> np.ndarray | None:
        """The array of that name in snapshots.npz (the same images after each experience)."""
        return self._drawable("snapshots.npz", name)

    @cached_property
    def unusable(self) -> str:
        """Which of the arrays for pictures cannot be drawn, and why; "" if all can be."""
        return "; ".join(
            f"{name} in {file} {reason}: not in the pictures"
            for file, arrays in self._samples.items()
            for name in arrays
            if (reason := _unsoundness(name, arrays))
        )

    def _drawable(self, file: str, name: str) -> np.ndarray | None:
        arrays = self._samples[file]
        return arrays[name] if name in arrays and not _unsoundness(name, arrays) else None

    @cached_property
    def _samples(self) -> dict[str, dict[str, np.ndarray]]:
        paths = [self.folder / name for name in ("embeddings.npz", "snapshots.npz")]
        return {path.name: _read_npz(path) if zipfile.is_zipfile(path) else {} for path in paths}

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return _read_npz(self.folder / "arrays.npz") if self.state == "finished" else {}


class _Unreadable(Exception):
    """A file of a run is absent, torn, or at odds with another; the message names it."""


def read_run(suite_folder: Path, planned: Mapping[str, Any]) -> Run:
    """Read a run's folder as far as it goes.

    A run that calls itself finished but whose files are absent, torn or at odds is "broken".

    Args:
        planned: the run's entry in plan.json.

    Raises:
        OutsideError: the entry leads out of the suite's folder.
    """
    folder = run_path(suite_folder, planned["folder"])
    planned_as: dict[str, Any] = {
        "strategy": planned["strategy"],
        "variant": planned.get("variant") or "",
        "seed": int(planned["seed"]),
        "folder": folder,
    }
    try:
        status = read_status(folder)
    except ValueError as error:
        return Run(**planned_as, state="broken", problem=str(error))
    if status is None:
        problem = "its folder has no status.json" if folder.is_dir() else "not run yet"
        return Run(**planned_as, state="missing", problem=problem)
    recorded = status.model_dump(include={"started", "ended", "environment"})
    if status.state == "finished":
        try:
            _check(folder, status)
            return _read_finished(Run(**planned_as, **recorded, state="finished"))
        except _Unreadable as error:
            return Run(**planned_as, state="broken", problem=str(error))
    failure = status.error
    problem = "started and not finished: still running, or interrupted"
    if status.state == "failed":
        problem = (
            f"{failure.type}: {failure.message}" if failure else "failed, and does not say why"
        )
    return Run(
        **planned_as,
        **recorded,
        state=status.state,
        problem=f"{problem} ({_progress(folder)})",
        traceback=failure.traceback if failure else "",
    )


def _check(folder: Path, status: RunStatus) -> None:
    names = changed_files(folder, status.files)
    if names:
        raise _Unreadable(
            f"finished, but what the run wrote is not what is in {', '.join(names)} now; running "
            "the suite again executes it again"
        )


def _read_finished(run: Run) -> Run:
    try:
        config = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _Unreadable(f"finished, but config.yaml cannot be read: {error}") from error
    history = tuple(_read_history(run.folder / "metrics.jsonl"))
    if not zipfile.is_zipfile(run.folder / "arrays.npz"):
        raise _Unreadable("finished, but arrays.npz is absent or torn")
    try:
        accuracy = run.array("accuracy/own")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _Unreadable(f"finished, but arrays.npz cannot be read: {error}") from error
    if accuracy is not None and len(accuracy) != len(history):
        raise _Unreadable(
            f"finished, but metrics.jsonl holds {len(history)} of {len(accuracy)} experiences"
        )
    problem = ""
    if not zipfile.is_zipfile(run.folder / "embeddings.npz"):
        problem = "embeddings.npz is absent or torn: not in the pictures of embeddings"
    return replace(run, config=config, history=history, problem=problem)


def _read_history(path: Path) -> Iterator[Trained]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _Unreadable(f"finished, but metrics.jsonl cannot be read: {error}") from error
    if not lines:
        raise _Unreadable("finished, but metrics.jsonl is empty")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            finite = {
                name: float(value)
                for name, value in row["metrics"].items()
                if value is not None and math.isfinite(value)
            }
            yield Trained(experience=int(row["experience"]), metrics=finite)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _Unreadable(
                f"finished, but line {number} of metrics.jsonl cannot be read: {error}"
            ) from error


def _progress(folder: Path) -> str:
    """How far a run came that did not finish."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().count(b"\n") if path.is_file() else 0
    return f"{lines or 'no'} experience{'s' if lines != 1 else ''} measured"


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


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
