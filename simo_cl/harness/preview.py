"""What a suite would do, before it does it."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.markup import escape
from rich.table import Table

from simo_cl.harness.diagnosis import busyness, usable_cores
from simo_cl.harness.execute_run import execute_run, make_benchmark, steps_of_experiences
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.settings import RunSettings
from simo_cl.harness.snapshots import Snapshots
from simo_cl.harness.trial import made_small
from simo_cl.harness.workers import default_jobs
from simo_cl.models import build_encoder
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet
from simo_cl.wording import count, duration

_TRIAL_STEPS = 4
_TRIAL_SAMPLES = 50
_FORWARD_SHARE = 1 / 3  # of a step's time, which has a backward pass and an update, too
# Rough shares of what follows the runs, which has not been timed: report and MLflow, in units of
# what it has taken to import the libraries, and for each run.
_REPORT_IN_STARTS = 2.0
_REPORT_SECONDS_A_RUN = 1.0


def preview_table(
    runs: Sequence[PlannedRun],
    folder: Path,
    data: DataSet,
    device: torch.device,
    *,
    jobs: int | None = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Table:
    """The runs with their images, and estimates of time and disk.

    Each strategy (at each point of a grid) that has something left to do is trained and evaluated
    in earnest, on a few images and for a few steps, and what that took is multiplied.

    Args:
        runs: of the suite.
        folder: of the suite, to see what is finished.
        data: that they train on.
        device: that they would train on.
        jobs: runs at once; None: see :func:`default_jobs`.
        tell: told what takes a while, and of each strategy what it took.
    """
    title = escape(f"{count(len(runs), 'run')} in {folder}")
    table = Table("run", "state", "precision", title=title)
    for column in ("images", "time, about", "disk"):
        table.add_column(column, justify="right")
    start_seconds = time.process_time()
    states = {run.name: RunFolder(folder / run.folder).state for run in runs}
    left = [run for run in runs if states[run.name] != "finished"]
    busy = None
    if left:
        tell("Timing a few steps of each strategy ...")
        busy = busyness()
    costs, problems = _costs(left, data, device, tell)
    megabytes = {run.label: _bytes_on_disk(run.settings, data) / 1e6 for run in runs}
    for run in runs:
        shown = ["", ""]
        if states[run.name] != "finished":
            cost = costs.get(run.label)
            shown = [f"{cost.images:,}", duration(cost.seconds)] if cost else ["?", "?"]
        precision, disk = run.settings.model.precision, f"{megabytes[run.label]:.1f} MB"
        table.add_row(escape(run.name), states[run.name], precision, *shown, disk)
    seconds = [costs[run.label].seconds for run in left if run.label in costs]
    at_once = _at_once(left, jobs, device)
    total = max([sum(seconds) / at_once, *seconds], default=0.0)
    rest = (1 + _REPORT_IN_STARTS) * start_seconds + _REPORT_SECONDS_A_RUN * len(runs)
    lines = [
        f"left to do: {count(len(left), 'run')}"
        f"{f', {at_once} at once' if at_once > 1 else ''}, about {duration(total)} and "
        f"{sum(megabytes[run.label] for run in left):.0f} MB; start, report and MLflow about "
        f"{duration(rest)} more",
        f"Estimates from a few steps on {device}",
        *(f"Not counted: {label}: {why}" for label, why in problems.items()),
    ]
    lines.append(f"Warning: {busy}" if busy else "Other work on the machine would make it longer")
    table.caption = escape("\n".join(lines))
    return table


def _at_once(runs: Sequence[PlannedRun], jobs: int | None, device: torch.device) -> int:
    """How many runs share the time; on a CPU, more than its cores carry do not make it shorter."""
    at_once = min(default_jobs(runs, device) if jobs is None else jobs, len(runs))
    if device.type == "cpu" and runs:
        threads = max(run.settings.training.threads for run in runs)
        at_once = min(at_once, usable_cores() // threads)
    return max(1, at_once)


class _Cost(NamedTuple):
    """Of one run, in all."""

    images: int
    seconds: float


@dataclass(frozen=True)
class _Trial:
    """What a run on a few images took.

    Attributes:
        images_a_step, seconds_a_step: once there is a memory.
        evaluation: seconds of one.
        embedded: images of one.
        rest: seconds of all but steps and evaluations.
    """

    images_a_step: float
    seconds_a_step: float
    evaluation: float
    embedded: float
    rest: float


def _costs(
    runs: Sequence[PlannedRun], data: DataSet, device: torch.device, tell: Callable[[str], None]
) -> tuple[dict[str, _Cost], dict[str, str]]:
    """Of a run with each label, and why it is not known of the others."""
    costs: dict[str, _Cost] = {}
    problems: dict[str, str] = {}
    rests = []
    # By what they have in common whose evaluations take the same time for the same images.
    evaluated: dict[Any, _Trial] = {}
    for label, run in {run.label: run for run in runs}.items():
        settings = run.settings
        alike = settings.model, settings.evaluation, settings.training.threads
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                # Even those that libraries want to be shown always; the run itself shows them.
                warnings.showwarning = lambda *_: None
                trial = _try(run, data, device, evaluates=alike not in evaluated)
        except Exception as error:
            problems[label] = f"{type(error).__name__}: {error}"
            tell(f"fails  {label}")
            continue
        tell(f"   ok  {label} ({time.perf_counter() - started:.1f} s)")
        rests.append(trial.rest)
        evaluation = evaluated.setdefault(alike, trial)
        benchmark = make_benchmark(data, settings, run.joint, device)
        steps = steps_of_experiences(benchmark, settings, run.joint)
        more = max(0.0, _embedded(settings, data) - evaluation.embedded)
        an_image = _FORWARD_SHARE * trial.seconds_a_step / trial.images_a_step
        # One evaluation more, of the untrained encoder.
        seconds = (len(steps) + 1) * (evaluation.evaluation + more * an_image)
        seconds += sum(steps) * trial.seconds_a_step
        costs[label] = _Cost(round(sum(steps) * trial.images_a_step), seconds)
    # The first one has imported what the others share.
    rest = min(rests, default=0.0)
    return {n: _Cost(cost.images, cost.seconds + rest) for n, cost in costs.items()}, problems


def _embedded(settings: RunSettings, data: DataSet) -> float:
    """Images of one evaluation: of the stream, of the training sample and of the memory."""
    on_test = settings.stream.evaluate_on == "test"
    stream = len(data.test) if on_test else settings.stream.validation * len(data.train)
    sample = data.num_classes * settings.evaluation.samples_per_class
    return stream + sample + min(settings.memory.size, len(data.train))


def _try(run: PlannedRun, data: DataSet, device: torch.device, evaluates: bool) -> _Trial:
    """Executes a run with two experiences and a few steps.

    Args:
        evaluates: with as many samples a class as the suite says, or nearly; otherwise with two.
    """
    most = run.settings.evaluation.samples_per_class
    samples = min(most, _TRIAL_SAMPLES) if evaluates else 2
    enough = _enough_images(run.settings)
    small, few = made_small(run, data, images=enough, steps=_TRIAL_STEPS, samples=samples)
    times: list[float] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as temporary:
        folder = RunFolder(Path(temporary))
        execute_run(small, few, folder, device, lambda *_: times.append(time.perf_counter()))
        lines = [json.loads(line)["metrics"] for line in folder.lines]
    seconds = time.perf_counter() - started
    last = lines[-1]
    before = lines[-2] if len(lines) > 1 else dict.fromkeys(last, 0.0)
    steps = round(last["cost/steps"] - before["cost/steps"])
    between = [after - earlier for earlier, after in itertools.pairwise(times[-steps:])]
    return _Trial(
        images_a_step=(last["cost/images"] - before["cost/images"]) / steps,
        seconds_a_step=statistics.median(between or [last["cost/train_seconds"] / len(times)]),
        # Before an only experience there has been one more.
        evaluation=(last["cost/evaluate_seconds"] - before["cost/evaluate_seconds"])
        / (1 if len(lines) > 1 else 2),
        embedded=_embedded(small.settings, few),
        rest=seconds - last["cost/train_seconds"] - last["cost/evaluate_seconds"],
    )


def _enough_images(settings: RunSettings) -> int:
    """Images of an experience that fill batches and memory as in the middle of a run."""
    stream = settings.stream
    if stream.protocol == "batch":
        return 2 * settings.training.batch_size
    from_memory = settings.settings.get("replay_batch_size") or 0
    return max(from_memory, _TRIAL_STEPS * stream.batch_size)


def _bytes_on_disk(settings: RunSettings, data: DataSet) -> int:
    """Of a run folder: samples of embeddings in half precision, and the weights, which MLflow's
    artifacts hold once more."""
    encoder = build_encoder(
        settings.model.encoder, channels=data.channels, width=settings.model.width
    )
    # A strategy of the user's own may mean something else by it.
    dimension = settings.settings.get("dimension")
    dimensions = encoder.num_features + (dimension if isinstance(dimension, int) else 0)
    per_class = settings.evaluation.samples_per_class
    snapshots = Snapshots(data.num_classes, per_class).per_class * settings.stream.experiences
    samples = (2 * per_class + snapshots) * data.num_classes
    matrices = 9 * settings.stream.experiences * data.num_classes**2 * 4
    weights = sum(4 * parameter.numel() for parameter in encoder.parameters())
    return samples * dimensions * 2 + matrices + 2 * weights
