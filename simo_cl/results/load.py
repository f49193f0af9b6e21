"""A suite with all that tables need, checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from simo_cl.metrics.continual import intransigence
from simo_cl.results.run import Run, with_arrays_checked
from simo_cl.results.suite import Suite, read_suite


def load_suite(folder: Path) -> Suite:
    """Reads a suite's result folder with the arrays of its runs.

    A run that calls itself finished but whose files are absent, torn or at odds is "broken".

    Raises:
        ResultsError: there is no plan, or it cannot be read, or a newer simo-cl wrote a file.
        OutsideError: something in the folder leads out of it.
    """
    suite = read_suite(Path(folder))
    suite = replace(suite, runs=tuple(map(with_arrays_checked, suite.runs)))
    return replace(suite, runs=tuple(_with_intransigence(suite, run) for run in suite.runs))


def _with_intransigence(suite: Suite, run: Run) -> Run:
    """Adds the one metric that needs another run: the `joint` run of the same seed."""
    joint_label = suite.counterpart(run.label, "joint")
    if joint_label is None or not run.final or run.is_joint:
        return run
    joint = next((other for other in suite.finished(joint_label) if other.seed == run.seed), None)
    upper = joint.array("accuracy/own") if joint is not None and joint.is_joint else None
    accuracy = run.array("accuracy/own")
    if upper is None or accuracy is None or accuracy.shape != (upper.shape[1], upper.shape[1]):
        return run
    last = run.history[-1].with_metrics({"intransigence": intransigence(accuracy, upper)})
    return replace(run, history=(*run.history[:-1], last))
