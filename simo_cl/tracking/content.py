"""What MLflow must show of a run and of a strategy."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.tracking import artifacts, description, store
from simo_cl.tracking.logged_model import ExportedModel, exported_model
from simo_cl.tracking.run_folders import RunFolder, Suite, shared_metrics
from simo_cl.tracking.view import ACCURACY_IMAGE

if TYPE_CHECKING:
    from mlflow.entities import Metric


@dataclass(frozen=True)
class Content:
    """What one MLflow run must show.

    Attributes:
        identity: the same each time, and no other run's.
        note: its description, in Markdown.
        blocks: metrics in the order logged; a store that holds the first n needs the rest.
        state: ``running``, ``finished`` or ``failed``.
        started, ended: Unix times in seconds.
        artifacts: a fingerprint of what `write_artifacts` writes to a folder; "" while that is
            nothing.
        images: those of them, by name, that the chart view shows beside those of other runs.
    """

    identity: str
    name: str
    parameters: dict[str, str]
    tags: dict[str, str]
    note: str
    blocks: list[list[Metric]]
    state: str
    started: float
    ended: float | None
    artifacts: str
    write_artifacts: Callable[[Path], None]
    images: Mapping[str, str] = field(default_factory=dict)
    model: ExportedModel | None = None


def seed_content(suite: Suite, run: RunFolder, problems: list[str]) -> Content:
    """One run: its settings, what it measured when, and its files."""
    tags = {"level": "seed", **_origin_tags(suite, run.label)} | {
        f"environment.{name}": str(value) for name, value in run.status.environment.items()
    }
    error = run.status.error
    if error:
        tags["error"] = f"{error.type}: {error.message}"[: store.VALUE_LENGTH]
    model = exported_model(run, problems)
    return Content(
        identity=run.name,
        name=_run_name(suite, run.label, f" seed {run.seed}"),
        parameters=store.flat_parameters(run.settings),
        tags=tags,
        note=description.of_a_seed(run, has_model=model is not None),
        blocks=[
            _block(line.experience, line.time, line.metrics, run.name, problems)
            for line in run.lines
        ],
        state=run.state,
        started=run.started,
        ended=run.status.ended,
        # Drawing takes longer than all else, so it waits for the run's end.
        artifacts="" if run.state == "running" else artifacts.fingerprint([run]),
        write_artifacts=lambda to: artifacts.write_run_artifacts(run, to, problems),
        model=model,
    )


def strategy_content(
    suite: Suite, label: str, runs: Sequence[RunFolder], problems: list[str]
) -> Content:
    """A strategy over its seeds: what their settings share, and the means of the finished ones."""
    finished = [run for run in runs if run.state == "finished"]
    planned = suite.planned[label]
    state = _state(runs, planned)
    tags = {
        "level": "strategy",
        **_origin_tags(suite, label),
        "seeds finished": f"{len(finished)} of {planned}",
    }
    if suite.plan.get("control") == label:
        tags["control"] = "true"
    return Content(
        identity=label,
        name=_run_name(suite, label),
        parameters=_shared_parameters(runs),
        tags=tags,
        note=description.of_a_strategy(label, finished, planned),
        blocks=_mean_blocks(finished, label, problems),
        state=state,
        started=min(run.started for run in runs),
        ended=None if state == "running" else max(run.status.ended or 0.0 for run in runs),
        artifacts=artifacts.fingerprint(finished),
        write_artifacts=lambda to: artifacts.write_mean_artifacts(label, finished, to, problems),
        images={ACCURACY_IMAGE: artifacts.MEAN_ACCURACY_FIGURE},
    )


def _run_name(suite: Suite, label: str, seed: str = "") -> str:
    """Tells the strategy first: MLflow cuts names at the end."""
    changes = suite.changes(label)
    return f"{label}{seed} · {suite.name}" + (f" ({changes})" if changes else "")


def _origin_tags(suite: Suite, label: str) -> dict[str, str]:
    changes = suite.changes(label)
    return {"strategy": label, "suite": suite.name} | ({"set": changes} if changes else {})


def _state(runs: Sequence[RunFolder], planned: int) -> str:
    states = [run.state for run in runs]
    if "running" in states or len(states) < planned:
        return "running"
    return "failed" if "failed" in states else "finished"


def _shared_parameters(runs: Sequence[RunFolder]) -> dict[str, str]:
    """What all seeds have in common; the seed itself is not, even when there is one only."""
    each = [store.flat_parameters(run.settings) for run in runs]
    first = {name: text for name, text in each[0].items() if name != "seed"}
    return {name: text for name, text in first.items() if all(p.get(name) == text for p in each)}


def _mean_blocks(runs: Sequence[RunFolder], label: str, problems: list[str]) -> list[list[Metric]]:
    """The mean over the runs of each metric after each experience that all of them have.

    Stamped with the latest time that went in, so that the same runs always give the same rows.
    """
    lines = defaultdict(list)
    for run in runs:
        for line in run.lines:
            lines[line.experience].append(line)
    blocks = []
    for experience, measured in sorted(lines.items()):
        if len(measured) < len(runs):
            continue
        shared = shared_metrics([line.metrics for line in measured])
        means = {name: statistics.fmean(values) for name, values in shared.items()}
        latest = max(line.time for line in measured)
        blocks.append(_block(experience, latest, means, label, problems))
    return blocks


def _block(
    experience: int, time: float, metrics: dict[str, float], where: str, problems: list[str]
) -> list[Metric]:
    """MLflow's rows for one experience, without what would empty its charts.

    Their step is the number of experiences trained, as on the report's axes.
    """
    from mlflow.entities import Metric

    rows = []
    for name, value in sorted(metrics.items()):
        if isinstance(value, (int, float)) and math.isfinite(value):
            timestamp = store.milliseconds(time)
            rows.append(Metric(store.accepted_name(name), float(value), timestamp, experience + 1))
        else:
            problems.append(
                f"{where}: {name} is {value} after experience {experience + 1}; left out"
            )
    return rows
