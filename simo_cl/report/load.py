"""Read a suite's plan and its run folders; say what is missing, unfinished or failed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from simo_cl.metrics.continual import intransigence

RunState = Literal["finished", "running", "failed", "missing", "broken"]


class ReportError(Exception):
    """A suite folder from which no report can be made; the message says what to do."""


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
    with any other.
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
        return _read_npz(self.folder / "embeddings.npz", only=name).get(name)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return _read_npz(self.folder / "arrays.npz") if self.state == "finished" else {}


@dataclass(frozen=True)
class Suite:
    """A suite's plan and all its runs, in the plan's order."""

    folder: Path
    name: str
    description: str
    control: str | None
    data: str
    command: str
    version: str
    class_names: tuple[str, ...]
    experiences: tuple[tuple[int, ...], ...] | None
    runs: tuple[Run, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Every planned row, in the plan's order."""
        return tuple(dict.fromkeys(run.label for run in self.runs))

    @cached_property
    def finished_labels(self) -> tuple[str, ...]:
        """The rows with at least one finished run."""
        return tuple(label for label in self.labels if self.finished(label))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every planned seed, ascending."""
        return tuple(sorted({run.seed for run in self.runs}))

    @cached_property
    def finished_runs(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.state == "finished")

    @cached_property
    def unfinished_runs(self) -> tuple[Run, ...]:
        """The planned runs that no table or figure contains."""
        return tuple(run for run in self.runs if run.state != "finished")

    @cached_property
    def num_experiences(self) -> int:
        """Experiences in the stream; 0 if neither the plan nor any run says."""
        if self.experiences is not None:
            return len(self.experiences)
        matrices = [run.array("accuracy/own") for run in self.finished_runs]
        columns = [matrix.shape[1] for matrix in matrices if matrix is not None]
        return max(columns + [len(run.history) for run in self.finished_runs], default=0)

    def finished(self, label: str) -> tuple[Run, ...]:
        """The finished runs of one row, by seed."""
        return tuple(sorted(self._finished_by_label.get(label, ()), key=lambda run: run.seed))

    def is_joint(self, label: str) -> bool:
        """Whether the row's runs saw all classes at once."""
        return any(run.is_joint for run in self.finished(label))

    def strategy_of(self, label: str) -> str:
        return next(run.strategy for run in self.runs if run.label == label)

    def values(self, label: str, metric: str) -> dict[int, float]:
        """A final metric of one row by seed; seeds without it are absent."""
        return {run.seed: run.final[metric] for run in self.finished(label) if metric in run.final}

    def counterpart(self, label: str, strategy: str) -> str | None:
        """The row of `strategy` that `label` is to be set beside.

        In a grid that is the row whose variant shares most settings with `label`'s and has none
        that `label` lacks: `simo[memory.size=200]` is set beside `er[memory.size=200]`. A
        `strategy` that names a row in full (`er[memory.size=200]`) is that row for all.

        Returns:
            The row's label, or None if no planned row of `strategy` fits.
        """
        if strategy in self.labels and "[" in strategy:
            return strategy
        wanted = variant_settings(self._variants[label]).items()
        fitting = {
            other: settings
            for other in self.labels
            if self.strategy_of(other) == strategy
            and (settings := variant_settings(self._variants[other])).items() <= wanted
        }
        return max(fitting, key=lambda other: len(fitting[other]), default=None)

    @cached_property
    def _variants(self) -> dict[str, str]:
        return {run.label: run.variant for run in self.runs}

    @cached_property
    def _finished_by_label(self) -> dict[str, list[Run]]:
        by_label: dict[str, list[Run]] = {}
        for run in self.finished_runs:
            by_label.setdefault(run.label, []).append(run)
        return by_label


def load_suite(suite_folder: Path) -> Suite:
    """Read a suite's result folder: its plan and every planned run.

    Runs on disk that the current plan does not name are left out.

    Raises:
        ReportError: there is no plan, or it cannot be read.
    """
    folder = Path(suite_folder)
    plan = _read_plan(folder)
    experiences = plan.get("experiences")
    suite = Suite(
        folder=folder,
        name=plan["suite"],
        description=plan.get("description") or "",
        control=plan.get("control"),
        data=plan.get("data") or "",
        command=plan.get("command") or "",
        version=plan.get("version") or "",
        class_names=tuple(plan.get("class_names") or ()),
        experiences=tuple(tuple(classes) for classes in experiences) if experiences else None,
        runs=tuple(_read_run(folder, planned) for planned in plan["runs"]),
    )
    return replace(suite, runs=tuple(_with_intransigence(suite, run) for run in suite.runs))


def variant_settings(variant: str) -> dict[str, str]:
    """The settings that a variant fixes: `memory.size=200` -> {"memory.size": "200"}."""
    pairs = (part.partition("=") for part in variant.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / "plan.json"
    if not path.is_file():
        raise ReportError(
            f"{folder} has no plan.json, so it is not the result folder of a suite. "
            "Give the folder that `simo-cl run` wrote, such as results/quickstart."
        )
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in ("suite", "runs") if key not in plan]
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path} cannot be read ({error}). Running the suite again writes it anew; "
            "finished runs are kept."
        ) from error
    if missing:
        raise ReportError(f"{path} lacks {' and '.join(missing)}; run the suite again.")
    return plan


def _read_run(suite_folder: Path, planned: Mapping[str, Any]) -> Run:
    folder = suite_folder / planned["folder"]
    planned_as: dict[str, Any] = {
        "strategy": planned["strategy"],
        "variant": planned.get("variant") or "",
        "seed": int(planned["seed"]),
        "folder": folder,
    }
    if not (folder / "status.json").is_file():
        return Run(**planned_as, state="missing", problem="not run yet")
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        recorded: dict[str, Any] = {
            "environment": status.get("environment") or {},
            "started": status.get("started"),
            "ended": status.get("ended"),
        }
        state = status["state"]
        if state == "finished":
            config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
            history = tuple(_read_history(folder / "metrics.jsonl"))
            return Run(**planned_as, **recorded, state=state, config=config, history=history)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        return Run(
            **planned_as,
            state="broken",
            problem=f"marked as finished, but its files cannot be read: {error}",
        )
    error_record = status.get("error") or {}
    if state == "failed":
        problem = f"{error_record.get('type', 'error')}: {error_record.get('message', 'unknown')}"
    else:
        state, problem = "running", "started and not finished: still running, or interrupted"
    return Run(
        **planned_as,
        **recorded,
        state=state,
        problem=problem,
        traceback=error_record.get("traceback") or "",
    )


def _read_history(path: Path) -> Iterator[Trained]:
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines:
        raise ValueError(f"{path.name} is empty")
    for line in lines:
        row = json.loads(line)
        finite = {
            name: float(value)
            for name, value in row["metrics"].items()
            if value is not None and math.isfinite(value)
        }
        yield Trained(experience=int(row["experience"]), metrics=finite)


def _with_intransigence(suite: Suite, run: Run) -> Run:
    """Add the one metric that needs another run: the `joint` run of the same seed."""
    joint_label = suite.counterpart(run.label, "joint")
    if joint_label is None or not run.history or run.is_joint:
        return run
    joint = next((other for other in suite.finished(joint_label) if other.seed == run.seed), None)
    upper = joint.array("accuracy/own") if joint is not None and joint.is_joint else None
    accuracy = run.array("accuracy/own")
    if upper is None or accuracy is None or accuracy.shape != (upper.shape[1], upper.shape[1]):
        return run
    last = run.history[-1]
    metrics = {**last.metrics, "intransigence": intransigence(accuracy, upper)}
    return replace(run, history=(*run.history[:-1], replace(last, metrics=metrics)))


def _read_npz(path: Path, only: str | None = None) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        names = stored.files if only is None else [only] if only in stored.files else []
        return {name: stored[name] for name in names}
