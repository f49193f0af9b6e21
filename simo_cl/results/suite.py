"""A suite's plan and all its runs, finished or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from simo_cl.results.history import Measured
from simo_cl.results.labels import variant_settings
from simo_cl.results.plan import Plan, read_plan
from simo_cl.results.run import Run, read_run, with_arrays_checked
from simo_cl.results.schema import ResultsError
from simo_cl.wording import count


@dataclass(frozen=True)
class Suite:
    """A suite's plan and all its runs, in the plan's order.

    Attributes:
        folder: where what is made of it goes.
        parts: the folders of the suites that it is made of, if it is of several.
    """

    folder: Path
    plan: Plan
    runs: tuple[Run, ...]
    parts: tuple[Path, ...] = ()

    @property
    def control(self) -> str | None:
        """The strategy, or the row in full, that the others are compared with."""
        return self.plan.control

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
        """Experiences in the stream; 0 if no run says."""
        return max(map(self.experiences_of, self.finished_labels), default=0)

    def experiences_of(self, label: str) -> int:
        """Experiences in the row's stream, also where it saw them all at once; 0 if no run says."""
        runs = self.finished(label)
        matrices = [run.array("accuracy/own") for run in runs]
        columns = [matrix.shape[1] for matrix in matrices if matrix is not None]
        return max(columns + [len(run.history) for run in runs], default=0)

    def finished(self, label: str) -> tuple[Run, ...]:
        """The finished runs of one row, by seed."""
        return tuple(sorted(self._finished_by_label.get(label, ()), key=lambda run: run.seed))

    def is_joint(self, label: str) -> bool:
        """Whether the row's runs saw all classes at once."""
        return any(run.is_joint for run in self.finished(label))

    def strategy_of(self, label: str) -> str:
        """The suite's entry that the row is named after."""
        return self._first_runs[label].strategy

    def built_by(self, label: str) -> str:
        """The strategy that the row's entry names."""
        return self._first_runs[label].built_by

    def values(self, label: str, metric: str) -> dict[int, float]:
        """A final metric of one row by seed; seeds without it are absent."""
        return {run.seed: run.final[metric] for run in self.finished(label) if metric in run.final}

    def counterpart(self, label: str, strategy: str) -> str | None:
        """The row of `strategy` that `label` is to be set beside.

        In a grid that is the row whose variant shares most settings with `label`'s and has none
        that `label` lacks: `simo[memory.size=200]` is set beside `er[memory.size=200]`. A
        `strategy` that names a row in full (`er[memory.size=200]`) is that row for all.

        Of several suites it is a row of `label`'s own; where that has none of `strategy`, one of
        the only other suite of the same data that has.

        Returns:
            The row's label, or None if no planned row of `strategy` fits.
        """
        if strategy in self.labels and "[" in strategy:
            return strategy
        return self._beside(label, self._rows_of(strategy), in_full="[" in strategy)

    def why_alone(self, label: str, strategy: str) -> str:
        """In words, why `label` has no :meth:`counterpart` of `strategy`."""
        near = self._near(label, self._rows_of(strategy))
        if not near:
            return f"{strategy} is of other data"
        if len({_suite_of(run) for run in near}) > 1:
            return f"several other suites have {strategy}: give a row in full"
        return f"no {strategy} has its settings"

    def joint_of(self, label: str) -> str | None:
        """The row of the strategy `joint` that `label` is to be set beside, whatever it is called;
        see :meth:`counterpart`."""
        rows = [run for run in self._first_runs.values() if run.built_by == "joint"]
        return self._beside(label, rows)

    def _rows_of(self, strategy: str) -> list[Run]:
        return [run for run in self._first_runs.values() if strategy in _names(run)]

    def _near(self, label: str, rows: Sequence[Run]) -> list[Run]:
        """Those of the label's own suite or, if there are none, of its data."""
        suite = _suite_of(self._first_runs[label])
        own = [run for run in rows if _suite_of(run) == suite]
        return own or [run for run in rows if self.same_data(run.label, label)]

    def _beside(self, label: str, rows: Sequence[Run], in_full: bool = False) -> str | None:
        near = self._near(label, rows)
        if len({_suite_of(run) for run in near}) > 1:
            return None
        wanted = _settings_of(self._first_runs[label]).items()
        fitting = [run for run in near if in_full or _settings_of(run).items() <= wanted]
        found = max(fitting, key=lambda run: len(_settings_of(run)), default=None)
        return found.label if found else None

    def same_data(self, label: str, other: str) -> bool:
        """Whether two rows are of one data set, so that their numbers can be compared."""
        sources = [self._first_runs[row].source for row in (label, other)]
        return len({source.data if source else None for source in sources}) == 1

    def split(self, by: Literal["suite", "data"]) -> list[Suite]:
        """Of several suites each alone, or the runs of each data set, whose numbers can be
        compared; a suite that stands alone is the only one."""
        groups: dict[object, list[Run]] = {}
        for run in self.runs:
            if run.source is not None:
                groups.setdefault(getattr(run.source, by), []).append(run)
        return [self._of(runs) for runs in groups.values()] or [self]

    def _of(self, runs: Sequence[Run]) -> Suite:
        """With a few of its runs, which are of one data set."""
        sources = [run.source for run in runs if run.source is not None]
        data, class_names = sources[0].data
        name = " and ".join(dict.fromkeys(source.suite for source in sources))
        changed = {"suite": name, "data": data, "class_names": class_names}
        return replace(self, plan=self.plan.model_copy(update=changed), runs=tuple(runs))

    @cached_property
    def _first_runs(self) -> dict[str, Run]:
        """A run of every row."""
        return {run.label: run for run in reversed(self.runs)}

    @cached_property
    def _finished_by_label(self) -> dict[str, list[Run]]:
        by_label: dict[str, list[Run]] = {}
        for run in self.finished_runs:
            by_label.setdefault(run.label, []).append(run)
        return by_label


def _names(run: Run) -> set[str]:
    """What a control may call the run's row by: its strategy, or the row in its own suite."""
    return {run.strategy, run.source.label if run.source else run.label}


def _suite_of(run: Run) -> str | None:
    return run.source.suite if run.source else None


def _settings_of(run: Run) -> dict[str, str]:
    """Of the row in its own suite: the suite that tells it apart is no setting."""
    settings = variant_settings(run.variant)
    if run.source and run.label != run.source.label:
        del settings["suite"]
    return settings


def read_suite(folder: Path) -> Suite:
    """Reads a suite's result folder, its plan and every planned run, but no arrays.

    Runs on disk that the current plan does not name are left out.

    Raises:
        ResultsError: there is no plan, or it cannot be read, or a newer simo-cl wrote a file.
        OutsideError: something in the folder leads out of it.
    """
    plan = read_plan(folder := Path(folder))
    return Suite(folder, plan, tuple(read_run(folder, entry) for entry in plan.runs))


def load_suite(folder: Path) -> Suite:
    """Reads a suite's result folder with the arrays of its runs.

    A run that calls itself finished but whose files are absent, torn or at odds is "broken".

    Raises:
        ResultsError: there is no plan, or it cannot be read, or a newer simo-cl wrote a file.
        OutsideError: something in the folder leads out of it.
    """
    suite = read_suite(folder)
    suite = replace(suite, runs=tuple(map(_without_a_stream, map(with_arrays_checked, suite.runs))))
    return replace(suite, runs=tuple(_with_intransigence(suite, run) for run in suite.runs))


def refuse_without_runs(suite_folder: Path) -> None:
    """Looks whether tables are of runs whose folders are elsewhere, as committed results are: there
    is nothing to read, and a report made here would replace them by an empty one.

    Raises:
        ResultsError: says what can be done.
    """
    table = suite_folder / "runs.csv"
    if not table.is_file() or any(suite_folder.glob("runs/*/*")):
        return
    rows = len(table.read_text(encoding="utf-8").splitlines()) - 1
    if rows > 0:
        files = [suite_folder / name for name in ("report.html", "summary.csv", "runs.csv")]
        there = ", ".join(str(file) for file in files if file.is_file())
        raise ResultsError(
            f"{suite_folder} has the results of {count(rows, 'run')} and none of their folders, so "
            "tables, figures, page and MLflow's view cannot be made from it. "
            f"Nothing was changed. The results are in {there}. New runs go to another folder with "
            "`simo-cl run SUITE --results DIR`, and in their place with --replace"
        )


# Once measured in joint runs as well.
_OF_A_STREAM = ("average_anytime_accuracy", "new_class_accuracy")


def _without_a_stream(run: Run) -> Run:
    """A joint run without what is about its stream: it has one experience, of all classes."""
    if not run.is_joint:
        return run
    measured = [
        {name: v for name, v in each.values.items() if name.rpartition("/")[2] not in _OF_A_STREAM}
        for each in run.history
    ]
    history = [
        Measured(experience=each.experience, time=each.time, metrics=values)
        for each, values in zip(run.history, measured, strict=True)
    ]
    return replace(run, history=tuple(history))


def _with_intransigence(suite: Suite, run: Run) -> Run:
    """Adds the one metric that needs another run: the `joint` run of the same seed."""
    joint_label = suite.joint_of(run.label)
    if joint_label is None or not run.final or run.is_joint:
        return run
    joint = next((other for other in suite.finished(joint_label) if other.seed == run.seed), None)
    upper = joint.array("accuracy/own") if joint is not None and joint.is_joint else None
    accuracy = run.array("accuracy/own")
    if upper is None or accuracy is None or accuracy.shape != (upper.shape[1], upper.shape[1]):
        return run
    from simo_cl.metrics.continual import intransigence  # takes a second: it needs scikit-learn

    last = run.history[-1].with_metrics({"intransigence": intransigence(accuracy, upper)})
    return replace(run, history=(*run.history[:-1], last))
