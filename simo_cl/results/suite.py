"""A suite's plan and all its runs, finished or not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from simo_cl.metrics.continual import intransigence
from simo_cl.results.run import Run, read_run
from simo_cl.results.safe_paths import refuse_links


class ReportError(Exception):
    """A suite folder from which no report can be made; the message says what to do."""


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
    def streamed_labels(self) -> tuple[str, ...]:
        """Of those, the rows that learn the stream: joint rows bound them, and are not compared."""
        return tuple(label for label in self.finished_labels if not self.is_joint(label))

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
        OutsideError: something in the folder leads out of it.
    """
    folder = Path(suite_folder)
    refuse_links(folder)
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
        runs=tuple(read_run(folder, planned) for planned in plan["runs"]),
    )
    return replace(suite, runs=tuple(_with_intransigence(suite, run) for run in suite.runs))


def refuse_without_runs(suite_folder: Path) -> None:
    """Looks whether tables are of runs whose folders are elsewhere, as committed results are: a
    report made here would replace them by an empty one.

    Raises:
        ReportError: says what can be done.
    """
    table = suite_folder / "runs.csv"
    if not table.is_file() or any(suite_folder.glob("runs/*/*")):
        return
    count = len(table.read_text(encoding="utf-8").splitlines()) - 1
    if count > 0:
        raise ReportError(
            f"{suite_folder} has the results of {count} runs and none of their folders, so tables, "
            "figures and page cannot be made again from it. Nothing was changed. Choose another "
            "folder with --results DIR; `simo-cl run --replace` puts new results in their place"
        )


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
