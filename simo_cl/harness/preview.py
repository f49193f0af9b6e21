"""What a suite would do, before it does it."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.table import Table

from simo_cl.harness.diagnosis import usable_cores
from simo_cl.harness.execute_run import execute_run, make_benchmark, steps_of_experiences
from simo_cl.harness.plan import Run
from simo_cl.harness.progress import duration
from simo_cl.harness.run_folder import RunFolder
from simo_cl.harness.settings import RunSettings
from simo_cl.harness.snapshots import Snapshots
from simo_cl.models import build_encoder
from simo_cl.streams import DataSet, Images

_TRIAL_STEPS = 4
_TRIAL_SAMPLES = 50
_FORWARD_SHARE = 1 / 3  # of a step's time, which has a backward pass and an update, too
# Rough shares of what follows the runs, which has not been timed: report and MLflow, in units of
# what it has taken to import the libraries, and for each run.
_REPORT_IN_STARTS = 2.0
_REPORT_SECONDS_A_RUN = 1.0


def preview_table(
    runs: Sequence[Run],
    folder: Path,
    data: DataSet,
    device: torch.device,
    *,
    jobs: int = 1,
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
        jobs: runs at once.
        tell: told what takes a while.
    """
    table = Table(title=f"{len(runs)} run{'' if len(runs) == 1 else 's'} in {folder}")
    for column, justify in (
        ("run", "left"),
        ("state", "left"),
        ("precision", "left"),
        ("images", "right"),
        ("time, about", "right"),
        ("disk", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    start_seconds = time.process_time()
    states = {run.name: RunFolder(folder / run.folder).state for run in runs}
    left = [run for run in runs if states[run.name] != "finished"]
    if left:
        tell("Timing a few steps of each strategy ...")
    estimate = _Estimate(left, data, device)
    for run in runs:
        shown = ["", ""]
        if run in left:
            cost = estimate.of(run)
            shown = [f"{cost.images:,}", duration(cost.seconds)] if cost else ["?", "?"]
        disk = _bytes_on_disk(run.settings, data)
        precision = run.settings.model.precision
        table.add_row(run.name, states[run.name], precision, *shown, f"{disk / 1e6:.1f} MB")
    seconds = [cost.seconds for run in left if (cost := estimate.of(run))]
    at_once = _at_once(left, jobs, device)
    total = max([sum(seconds) / at_once, *seconds], default=0.0)
    rest = (1 + _REPORT_IN_STARTS) * start_seconds + _REPORT_SECONDS_A_RUN * len(runs)
    disk = sum(_bytes_on_disk(run.settings, data) for run in left)
    table.caption = "\n".join(
        [
            f"left to do: {len(left)} run{'' if len(left) == 1 else 's'}"
            f"{f', {at_once} at once' if at_once > 1 else ''}, about {duration(total)} and "
            f"{disk / 1e6:.0f} MB; start, report and MLflow about {duration(rest)} more",
            f"Estimates from a few steps on {device}; other work on the machine makes it longer",
            *(f"Not counted: {label}: {why}" for label, why in estimate.problems.items()),
        ]
    )
    return table


def _at_once(runs: Sequence[Run], jobs: int, device: torch.device) -> int:
    """How many runs share the time; on a CPU, more than its cores carry do not make it shorter."""
    at_once = min(jobs, len(runs))
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
        evaluated: images that it embedded: of the stream, the training sample and the memory.
        rest: seconds of all but steps and evaluations.
    """

    images_a_step: float
    seconds_a_step: float
    evaluation: float
    evaluated: int
    rest: float


class _Estimate:
    """What runs cost; each strategy is tried once, and evaluation once for each model.

    Attributes:
        problems: why a strategy could not be tried, by its label.
    """

    def __init__(self, runs: Sequence[Run], data: DataSet, device: torch.device) -> None:
        self.problems: dict[str, str] = {}
        self._data = data
        self._device = device
        self._trials: dict[str, _Trial] = {}
        self._evaluations: dict[str, _Trial] = {}
        for run in {run.label: run for run in runs}.values():
            self._try(run)
        self._costs: dict[str, _Cost] = {}

    def of(self, run: Run) -> _Cost | None:
        """The same with every seed."""
        if run.label in self._trials and run.label not in self._costs:
            self._costs[run.label] = self._cost(run)
        return self._costs.get(run.label)

    def _try(self, run: Run) -> None:
        key = _evaluation_key(run)
        try:
            with warnings.catch_warnings():
                # Even those that libraries want to be shown always; the run itself shows them.
                warnings.showwarning = lambda *_: None
                trial = _try(run, self._data, self._device, evaluates=key not in self._evaluations)
        except Exception as error:
            self.problems[run.label] = f"{type(error).__name__}: {error}"
            return
        self._trials[run.label] = trial
        self._evaluations.setdefault(key, trial)

    def _cost(self, run: Run) -> _Cost:
        settings, joint = run.settings, run.strategy_file.joint
        benchmark = make_benchmark(
            self._data, settings.stream, settings.training, settings.seed, joint, self._device
        )
        steps = steps_of_experiences(benchmark, settings, joint)
        trial, evaluation = self._trials[run.label], self._evaluations[_evaluation_key(run)]
        on_test = settings.stream.evaluate_on == "test"
        stream = benchmark.test_stream if on_test else benchmark.valid_stream
        more = sum(len(experience.dataset) for experience in stream)
        more += self._data.num_classes * settings.evaluation.samples_per_class
        more += settings.memory.size - evaluation.evaluated
        an_image = _FORWARD_SHARE * trial.seconds_a_step / trial.images_a_step
        # One more of the untrained encoder.
        evaluations = (len(steps) + 1) * (evaluation.evaluation + max(0, more) * an_image)
        # The first one has imported what the others share.
        rest = min(other.rest for other in self._trials.values())
        seconds = sum(steps) * trial.seconds_a_step + evaluations + rest
        return _Cost(round(sum(steps) * trial.images_a_step), seconds)


def _evaluation_key(run: Run) -> str:
    settings = run.settings
    return f"{settings.model}{settings.evaluation}{settings.training.threads}"


def _try(run: Run, data: DataSet, device: torch.device, evaluates: bool) -> _Trial:
    """Executes a run with two experiences and a few steps.

    Args:
        evaluates: with as many samples a class as the suite says, or nearly; otherwise with two.
    """
    settings = run.settings
    samples = min(settings.evaluation.samples_per_class, _TRIAL_SAMPLES) if evaluates else 2
    few = _few(data, settings, samples)
    small = _smaller(settings, len(few.train), samples)
    times: list[float] = []

    def step(taken: int, total: int) -> None:
        times.append(time.perf_counter())

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="simo-cl-") as temporary:
        folder = RunFolder(Path(temporary))
        execute_run(replace(run, settings=small), few, folder, device, step)
        lines = [json.loads(line)["metrics"] for line in folder.lines]
    seconds = time.perf_counter() - started
    last = lines[-1]
    before = lines[-2] if len(lines) > 1 else dict.fromkeys(last, 0.0)
    steps = round(last["cost/steps"] - before["cost/steps"])
    own = times[-steps:]
    between = [after - earlier for earlier, after in itertools.pairwise(own)]
    on_test = settings.stream.evaluate_on == "test"
    stream = len(few.test) if on_test else round(len(few.train) * settings.stream.validation)
    return _Trial(
        images_a_step=(last["cost/images"] - before["cost/images"]) / steps,
        seconds_a_step=statistics.median(between or [last["cost/train_seconds"] / len(times)]),
        # Before an only experience there has been one more.
        evaluation=(last["cost/evaluate_seconds"] - before["cost/evaluate_seconds"])
        / (1 if len(lines) > 1 else 2),
        evaluated=stream + data.num_classes * samples + min(settings.memory.size, len(few.train)),
        rest=seconds - last["cost/train_seconds"] - last["cost/evaluate_seconds"],
    )


def _smaller(settings: RunSettings, images: int, samples: int) -> RunSettings:
    """The same with two experiences, a few steps in each and so many samples a class."""
    stream, training = settings.stream, settings.training
    if stream.protocol == "batch":
        of_an_experience = images * (1 - stream.validation) / 2
        epochs = _TRIAL_STEPS * training.batch_size / of_an_experience
        training = training.model_copy(update={"epochs": epochs})
    experiences = {"experiences": min(2, stream.experiences), "class_order": "natural"}
    return settings.model_copy(
        update={
            "stream": stream.model_copy(update=experiences),
            "training": training,
            "evaluation": settings.evaluation.model_copy(update={"samples_per_class": samples}),
        }
    )


def _few(data: DataSet, settings: RunSettings, samples: int) -> DataSet:
    """As many images of each class as a trial needs to fill batches, memory and samples."""
    of_a_class = max(1, data.num_classes // 2)
    wanted = [2 * settings.training.batch_size]
    if settings.stream.protocol == "online":
        from_memory = settings.settings.get("replay_batch_size") or 0
        wanted = [from_memory, _TRIAL_STEPS * settings.stream.batch_size]
    held_out = settings.stream.validation
    per_class = math.ceil(max(wanted) / of_a_class / (1 - held_out))
    if held_out:
        per_class = max(per_class, math.ceil(2 / held_out))
    train = _first_per_class(data.train, max(per_class, samples))
    test = _first_per_class(data.test, samples)
    return DataSet(data.name, train, test, data.class_names, data.note)


def _first_per_class(images: Images, count: int) -> Images:
    rows = [torch.nonzero(images.labels == c).flatten()[:count] for c in images.labels.unique()]
    chosen = torch.cat(rows)
    return Images(images.images[chosen], images.labels[chosen])


def _bytes_on_disk(settings: RunSettings, data: DataSet) -> int:
    """Of a run folder: samples of embeddings in half precision, and the weights, which MLflow's
    artifacts hold once more."""
    encoder = build_encoder(
        settings.model.encoder, channels=data.channels, width=settings.model.width
    )
    dimensions = encoder.num_features + int(settings.settings.get("dimension", 0))
    per_class = settings.evaluation.samples_per_class
    snapshots = Snapshots(data.num_classes, per_class).per_class * settings.stream.experiences
    samples = (2 * per_class + snapshots) * data.num_classes
    matrices = 9 * settings.stream.experiences * data.num_classes**2 * 4
    weights = sum(4 * parameter.numel() for parameter in encoder.parameters())
    return samples * dimensions * 2 + matrices + 2 * weights
