"""What MLflow must show of a run and of a strategy."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simo_cl.metrics.over_seeds import mean_metrics
from simo_cl.results import Run, Suite
from simo_cl.tracking import artifacts, description, store
from simo_cl.tracking.logged_model import ExportedModel, exported_model

Row = tuple[str, int, int, float]
"""A value in MLflow: its name, step, time in milliseconds, and itself."""

_STATUS = {"finished": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True)
class Content:
    """What one MLflow run must show.

    Attributes:
        identity: the same each time, and no other run's.
        note: its description, in Markdown.
        blocks: metrics in the order logged; a store that holds the first n needs the rest.
        status: as MLflow calls it.
        started, ended: Unix times in seconds.
        artifacts: a fingerprint of what `write_artifacts` writes to an empty folder; "" while that
            is nothing.
    """

    identity: str
    name: str
    parameters: dict[str, str]
    tags: dict[str, str]
    note: str
    blocks: list[list[Row]]
    status: str
    started: float
    ended: float | None
    artifacts: str
    write_artifacts: Callable[[Path], None]
    model: ExportedModel | None = None


def started_runs(suite: Suite, problems: list[str]) -> list[Run]:
    """The runs that have started; what is broken is described in `problems`."""
    started = []
    for run in suite.runs:
        if run.state == "broken":
            problems.append(f"{run.name}: left out, {run.problem}")
        # Without a start perhaps an attempt that failed before it began, after one whose status
        # was lost.
        elif run.started is not None and run.config:
            started.append(run)
        elif run.started is not None:
            problems += [f"{run.name}: left out, {fault}" for fault in run.faults]
    return started


def seed_content(suite: Suite, run: Run, problems: list[str]) -> Content:
    """One run: its settings, what it measured when, and its files."""
    tags = {"level": "seed", **_origin_tags(suite, run.label)} | {
        f"environment.{name}": str(value) for name, value in run.environment.items()
    }
    if run.error:
        tags["error"] = f"{run.error.type}: {run.error.message}"[: store.VALUE_LENGTH]
    model = exported_model(run, problems)
    problems += _left_out(run)
    return Content(
        identity=run.name,
        name=_run_name(suite, run.label, f" seed {run.seed}"),
        parameters=store.flat_parameters(run.config),
        tags=tags,
        note=description.of_a_seed(run, has_model=model is not None)[: store.VALUE_LENGTH],
        blocks=[_block(m.experience, m.time, m.metrics) for m in run.history],
        status=_STATUS.get(run.state, "RUNNING"),
        started=run.started or 0.0,
        ended=run.ended,
        # Drawing takes longer than all else, so it waits for the run's end.
        artifacts="" if run.state == "running" else artifacts.fingerprint([run]),
        write_artifacts=lambda to: artifacts.write_run_artifacts(run, to, problems),
        model=model,
    )


def strategy_content(suite: Suite, label: str, runs: Sequence[Run], problems: list[str]) -> Content:
    """A strategy over its seeds: what their settings share, and the means of the finished ones."""
    finished = [run for run in runs if run.state == "finished"]
    planned = sum(run.label == label for run in suite.runs)
    states = {run.state for run in runs} | ({"running"} if len(runs) < planned else set())
    is_running = "running" in states
    started = min(run.started or 0.0 for run in runs)
    tags = {
        "level": "strategy",
        **_origin_tags(suite, label),
        "seeds finished": f"{len(finished)} of {planned}",
    }
    if suite.control == label:
        tags["control"] = "true"
    return Content(
        identity=label,
        name=_run_name(suite, label),
        parameters=_shared_parameters(runs),
        tags=tags,
        note=description.of_a_strategy(label, finished, planned)[: store.VALUE_LENGTH],
        blocks=_mean_blocks(finished),
        status="RUNNING" if is_running else "FAILED" if "failed" in states else "FINISHED",
        started=started,
        ended=None if is_running else max(run.ended or 0.0 for run in runs),
        artifacts=artifacts.fingerprint(finished),
        write_artifacts=lambda to: artifacts.write_mean_artifacts(
            label, finished, to, problems, started=started
        ),
    )


def _run_name(suite: Suite, label: str, seed: str = "") -> str:
    """Tells the strategy first: MLflow cuts names at the end."""
    changes = _changes(suite, label)
    name = f"{label}{seed} · {suite.plan.suite}" + (f" ({changes})" if changes else "")
    return name[: store.NAME_LENGTH]  # of which a database may refuse more


def _changes(suite: Suite, label: str) -> str:
    """What the command set besides the suite's file for a strategy, as ``--set`` takes it.

    Without the suite's own name, which stands beside it.
    """
    try:
        words = shlex.split(suite.plan.command)
    except ValueError:  # no command of ours, whose quotes are closed
        return ""
    given = [b for a, b in itertools.pairwise(words) if a == "--set"]
    given += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
    strategy = label.partition("[")[0]
    return ", ".join(
        setting
        for setting in given
        if not setting.startswith("name=")
        and ("@" not in setting or setting.startswith(f"{strategy}@"))
    )


def _origin_tags(suite: Suite, label: str) -> dict[str, str]:
    changes = _changes(suite, label)
    return {"strategy": label, "suite": suite.plan.suite} | ({"set": changes} if changes else {})


def _shared_parameters(runs: Sequence[Run]) -> dict[str, str]:
    """What all seeds have in common; the seed itself is not, even when there is one only."""
    each = [store.flat_parameters(run.config) for run in runs]
    shared = set.intersection(*(set(parameters.items()) for parameters in each))
    return {name: text for name, text in shared if name != "seed"}


def _mean_blocks(runs: Sequence[Run]) -> list[list[Row]]:
    """The mean over the runs of each metric that all of them have, after each experience.

    What not all have after the last one is left out: MLflow's tables would show an earlier value as
    the final one. Stamped with the latest time that went in, so that the same runs always give the
    same rows.
    """
    complete = list(zip(*(run.history for run in runs), strict=False))
    means = [mean_metrics([each.metrics for each in measured]) for measured in complete]
    return [
        _block(
            measured[0].experience,
            max(each.time for each in measured),
            {name: found.mean for name, found in of_all.items() if name in means[-1]},
        )
        for measured, of_all in zip(complete, means, strict=True)
    ]


def _block(experience: int, time: float, metrics: Mapping[str, float]) -> list[Row]:
    """What MLflow has of one experience.

    The step is the number of experiences trained, as on the report's axes.
    """
    stamp = store.milliseconds(time)
    return [
        (store.accepted_name(name), experience + 1, stamp, value)
        for name, value in sorted(metrics.items())
    ]


def _left_out(run: Run) -> Iterator[str]:
    """What would empty MLflow's charts, and what cannot be read."""
    for measured in run.history:
        for name, value in measured.undefined.items():
            after = measured.experience + 1
            yield f"{run.name}: {name} is {value} after experience {after}; left out"
    yield from (f"{run.name}: {fault}" for fault in run.faults)
