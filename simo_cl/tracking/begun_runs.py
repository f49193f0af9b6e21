"""The runs of a suite that MLflow has something to show of."""

from __future__ import annotations

from simo_cl.results import Run, Suite


def begun_runs(suite: Suite, problems: list[str]) -> list[Run]:
    """Those that have begun; what is broken is described in `problems`."""
    begun = []
    for run in suite.runs:
        if run.state == "broken":
            problems.append(f"{run.name}: left out, {run.problem}")
        # Without a start perhaps an attempt that failed before it began, after one whose status
        # was lost.
        elif run.started is not None and run.config:
            begun.append(run)
        elif run.started is not None:
            problems += [f"{run.name}: left out, {fault}" for fault in run.faults]
    return begun
