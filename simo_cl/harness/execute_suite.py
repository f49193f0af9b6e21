"""Execute a suite's runs, whatever happens to any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

import simo_cl
from simo_cl.harness.attempt import attempt
from simo_cl.harness.checkpoint import Checkpoints
from simo_cl.harness.cluster import Cluster, execute_on_cluster
from simo_cl.harness.execute_run import make_benchmark
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import Suite
from simo_cl.harness.suite_file import Places, SuiteError
from simo_cl.harness.workers import default_jobs, execute_in_workers
from simo_cl.models import Encoder, build_encoder, encoder_names
from simo_cl.registry import did_you_mean
from simo_cl.results import PLAN, Plan, PlanEntry, RunFolder
from simo_cl.streams import (
    DataError,
    DataSet,
    check_augmentations,
    data_source_names,
    load_data,
)

_CHECKED = {"stream", "training", "model", "memory", "evaluation"}


@dataclass
class Outcome:
    """What came of some runs.

    Attributes:
        finished: in the order in which they ended.
        skipped: finished before, in the order of the plan.
        failed: a run's name to why, in the order of the plan.
    """

    finished: list[PlannedRun] = field(default_factory=list)
    skipped: list[PlannedRun] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def execute_runs(
    runs: Sequence[PlannedRun],
    folder: Path,
    *,
    data: DataSet,
    device: torch.device,
    progress: SuiteProgress,
    jobs: int | None = 1,
    cluster: Cluster | None = None,
    plugins: Path | None = None,
    after_each: Callable[[], None] = lambda: None,
) -> Outcome:
    """Executes what is missing or unfinished.

    Args:
        runs: to execute; finished ones are skipped.
        folder: that the run folders are relative to.
        data: from :func:`checked_data`.
        device: to train on; with several jobs, "cuda" is every GPU in turn.
        progress: told of every step.
        jobs: runs at once; with 1, in this process. None: see :func:`default_jobs`.
        cluster: where runs are executed, instead of on this machine.
        plugins: a file that other processes import first.
        after_each: called after each run, whether it finished or failed.
    """
    outcome = Outcome()
    reasons: dict[str, str] = {}
    unfinished: list[PlannedRun] = []
    for run in runs:
        finished = RunFolder(folder / run.folder).state == "finished"
        (outcome.skipped if finished else unfinished).append(run)
    progress.begin(unfinished, outcome.skipped)
    for run in outcome.skipped:
        # One that was killed as soon as it had finished.
        Checkpoints(folder / run.folder).remove()
    for run in unfinished:
        if damage := RunFolder(folder / run.folder).damage:
            progress.warn(f"{run.name}: {damage}; it is executed again")

    def ends(run: PlannedRun, reason: str | None) -> None:
        if reason is None:
            outcome.finished.append(run)
            progress.run_ends(run, RunFolder(folder / run.folder).last_metrics())
        else:
            reasons[run.name] = reason
            progress.run_failed(run, reason)
        after_each()

    if jobs is None:
        jobs = default_jobs(unfinished, device)
    if cluster is not None and unfinished:
        execute_on_cluster(
            unfinished,
            cluster,
            folder,
            data=data,
            plugins=plugins,
            progress=progress,
            ends=ends,
        )
    elif jobs > 1 and len(unfinished) > 1:
        execute_in_workers(
            unfinished,
            jobs,
            folder,
            data=data,
            device=device,
            plugins=plugins,
            progress=progress,
            ends=ends,
        )
    else:
        for run in unfinished:
            progress.run_begins(run)
            step = partial(progress.step, run)
            ends(run, attempt(run, folder, data, device, step, progress.warn))
    outcome.failed = {run.name: reasons[run.name] for run in unfinished if run.name in reasons}
    return outcome


def checked_data(runs: Sequence[PlannedRun], root: Path | None) -> DataSet:
    """The data set of a suite's runs, once everything is found to fit that could be wrong in a
    suite and would otherwise show in the middle.

    Args:
        runs: with one data set, as :func:`plan_runs` makes them.
        root: where the data lie.

    Raises:
        SuiteError: an unknown data set, encoder or augmentation, or settings that do not fit the
            data.
        DataError: the data cannot be had, or a class has no sample.
    """
    name, names = runs[0].settings.data.name, data_source_names()
    if name not in names:
        raise SuiteError(
            f"{runs[0].places.of('data', 'name')}: data.name is {name!r}, which is no data set; "
            f"there are {', '.join(names)}.{did_you_mean(name, names)}"
        )
    data = load_data(name, root)
    checked = set()
    for run in runs:
        settings = run.settings
        seed = settings.seed if settings.stream.class_order == "seeded" else 0
        shared = settings.model_dump_json(include=_CHECKED), seed
        if shared not in checked:
            _check_fit(run, data)
            benchmark = make_benchmark(
                data, settings.stream, settings.training, seed, False, torch.device("cpu")
            )
            _check_sizes(run, data, [len(e.dataset) for e in benchmark.train_stream])
            checked.add(shared)
    return data


def write_plan(
    folder: Path, suite: Suite, planned: Iterable[PlannedRun], *, command: str, data: DataSet
) -> None:
    """Writes ``plan.json``: what the suite is, and which runs belong to it now.

    Raises:
        DataError: one of them is of other data.
    """
    planned = list(planned)
    refuse_other_data(planned, folder, data)
    folder.mkdir(parents=True, exist_ok=True)
    Plan(
        suite=suite.name,
        description=suite.description,
        control=suite.control,
        data=data.note,
        class_names=data.class_names,
        command=command,
        version=simo_cl.__version__,
        runs=tuple(
            PlanEntry(
                strategy=run.settings.entry,
                built_by=run.settings.strategy,
                variant=run.variant,
                seed=run.settings.seed,
                folder=run.folder.as_posix(),
            )
            for run in planned
        ),
    ).write(folder / PLAN)


def refuse_other_data(runs: Iterable[PlannedRun], folder: Path, data: DataSet) -> None:
    """Looks whether work that would be kept was done on the data that are found now.

    Args:
        runs: whose folders are looked at.
        folder: that these are relative to.
        data: found now.

    Raises:
        DataError: a run was finished, or left with a checkpoint, on other data.
    """
    for run in runs:
        there = RunFolder(folder / run.folder)
        before = there.data
        kept = there.state == "finished" or any(there.path.glob("checkpoint*.pt"))
        if kept and before.digest not in ("", data.digest):
            raise DataError(
                f"{there.path} is of other data ({before.note}, {before.digest}) than those "
                f"found now ({data.note}, {data.digest}); one table of both would be of neither. "
                "Bring the data back, or write to another folder with --results, or delete the "
                "folders of runs on other data"
            )


def _check_fit(run: PlannedRun, data: DataSet) -> None:
    """Refuses settings that do not fit each other or the data."""
    stream, settings, places = run.settings.stream, run.settings, run.places
    try:
        check_augmentations(settings.training.augment)
    except ValueError as error:
        where = places.of("training", "augment")
        raise SuiteError(f"{where}: training.augment: {error}") from None
    if stream.experiences > data.num_classes:
        raise SuiteError(
            f"{places.of('stream', 'experiences')}: stream.experiences is {stream.experiences}; "
            f"{data.name} has {data.num_classes} classes, so it must be from 1 to "
            f"{data.num_classes}"
        )
    every_class = list(range(data.num_classes))
    if not isinstance(stream.class_order, str) and sorted(stream.class_order) != every_class:
        raise SuiteError(
            f"{places.of('stream', 'class_order')}: stream.class_order is "
            f"{list(stream.class_order)}; it must hold every label of {data.name} once, 0 to "
            f"{data.num_classes - 1}"
        )
    if settings.memory.size < data.num_classes:
        raise SuiteError(
            f"{places.of('memory', 'size')}: memory.size is {settings.memory.size}; {data.name} "
            f"has {data.num_classes} classes, and a memory holds at least one image of each"
        )
    evaluation = settings.evaluation
    if evaluation.every is not None and evaluation.every_images < data.num_classes:
        raise SuiteError(
            f"{places.of('evaluation', 'every_images')}: evaluation.every_images is "
            f"{evaluation.every_images}; {data.name} has {data.num_classes} classes, and accuracy "
            "is measured on at least one image of each"
        )
    _check_encoder(run, data)


def _check_sizes(run: PlannedRun, data: DataSet, sizes: list[int]) -> None:
    """Refuses batches of a single image for encoders that normalize over a batch of 1 x 1 maps."""
    stream, model, places = run.settings.stream, run.settings.model, run.places
    if stream.protocol == "online" and stream.batch_size == 1:
        where, what = places.of("stream", "batch_size"), "stream.batch_size is 1"
    elif 1 in sizes:
        where = places.of("stream", "experiences")
        what = f"experience {sizes.index(1)}, counted from 0, has a single training image"
    else:
        return
    encoder = _encoder(run, data).train()
    try:
        encoder(data.test.images[:1].float() / 255)
    except ValueError as error:
        raise SuiteError(
            f"{where}: {what}, and {model.encoder} cannot train on one alone ({error}); set "
            "model.norm: group, or choose other batches or experiences"
        ) from None


def refuse_unknown_encoder(name: str, places: Places) -> None:
    """Raises a :class:`SuiteError` for what is no encoder's name."""
    names = encoder_names()
    if name not in names:
        raise SuiteError(
            f"{places.of('model', 'encoder')}: model.encoder is {name!r}, which is no encoder; "
            f"there are {', '.join(names)}.{did_you_mean(name, names)}"
        )


def _check_encoder(run: PlannedRun, data: DataSet) -> None:
    """Embeds two images: a user's own encoder may not be what it should be."""
    model = run.settings.model
    refuse_unknown_encoder(model.encoder, run.places)
    where = f"{run.places.of('model', 'encoder')}: model.encoder is {model.encoder!r}"
    images = data.test.images[:2].float() / 255
    shape = " x ".join(str(n) for n in images.shape[1:])
    try:
        encoder = _encoder(run, data).eval()
        with torch.no_grad():
            features = encoder(images)
    except Exception as error:
        raise SuiteError(
            f"{where}, which cannot embed the images of {data.name} ({shape}) with "
            f"model.width {model.width}: {type(error).__name__}: {error}"
        ) from error
    if features.shape != (len(images), encoder.num_features):
        raise SuiteError(
            f"{where}, which says that it has {encoder.num_features} features but maps "
            f"{len(images)} images to {tuple(features.shape)}; it must be "
            f"{(len(images), encoder.num_features)}"
        )


def _encoder(run: PlannedRun, data: DataSet) -> Encoder:
    model = run.settings.model
    return build_encoder(
        model.encoder,
        channels=data.channels,
        width=model.width,
        norm=model.norm,
        precision=model.precision,
    )
