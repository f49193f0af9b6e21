"""The data of a suite, once everything is found to fit that would otherwise fail in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from simo_cl.harness.execute_run import make_benchmark
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import refuse_unknown_part
from simo_cl.harness.quick_checks import refuse_unknown_data
from simo_cl.harness.suite_file import Locations, SuiteError
from simo_cl.models import Encoder, build_encoder, encoder_names
from simo_cl.streams import DataSet, check_augmentations, load_data

_CHECKED = {"stream", "training", "model", "memory", "evaluation"}


def checked_data(runs: Sequence[PlannedRun], root: Path | None) -> DataSet:
    """The data set of a suite's runs, if their settings fit each other and the data.

    Args:
        runs: with one data set, as :func:`plan_runs` makes them.
        root: where the data lie.

    Raises:
        SuiteError: an unknown data set, encoder or augmentation, or settings that do not fit the
            data.
        DataError: the data cannot be had, or a class has no sample.
    """
    name = runs[0].settings.data.name
    refuse_unknown_data(name, runs[0].locations)
    data = load_data(name, root)
    refuse_unfit(runs, data)
    return data


def refuse_unfit(runs: Sequence[PlannedRun], data: DataSet) -> None:
    """Raises a :class:`SuiteError` where runs have settings that do not fit their data."""
    checked = set()
    for run in runs:
        settings = run.settings
        seed = settings.seed if settings.stream.class_order == "seeded" else 0
        shared = settings.model_dump_json(include=_CHECKED), seed
        if shared not in checked:
            _check_numbers(run, data)
            _check_encoder(run, data)
            benchmark = make_benchmark(data, settings, False, torch.device("cpu"))
            _check_sizes(run, data, [len(e.dataset) for e in benchmark.train_stream])
            checked.add(shared)


def refuse_unknown_encoder(name: str, locations: Locations) -> None:
    """Raises a :class:`SuiteError` for what is no encoder's name."""
    refuse_unknown_part(locations, "model.encoder", name, "encoder", encoder_names())


def _check_numbers(run: PlannedRun, data: DataSet) -> None:
    """Of classes, experiences and images."""
    settings, complaint, classes = run.settings, run.locations.complaint, data.num_classes
    stream, evaluation = settings.stream, settings.evaluation
    it_has = f"{data.name} has {classes} classes"
    try:
        check_augmentations(settings.training.augment)
    except ValueError as error:
        where = run.locations.of("training", "augment")
        raise SuiteError(f"{where}: training.augment: {error}") from None
    if stream.experiences > classes:
        raise complaint(
            "stream.experiences",
            f"is {stream.experiences}; {it_has}, so it must be from 1 to {classes}",
        )
    order = stream.class_order
    if not isinstance(order, str) and sorted(order) != list(range(classes)):
        raise complaint(
            "stream.class_order",
            f"is {list(order)}; it must hold every label of {data.name} once, 0 to {classes - 1}",
        )
    if settings.memory.size < classes:
        raise complaint(
            "memory.size",
            f"is {settings.memory.size}; {it_has}, and a memory holds at least one image of each",
        )
    if evaluation.every is not None and evaluation.every_images < classes:
        raise complaint(
            "evaluation.every_images",
            f"is {evaluation.every_images}; {it_has}, and accuracy is measured on at least one "
            "image of each",
        )


def _check_encoder(run: PlannedRun, data: DataSet) -> None:
    """Embeds two images: a user's own encoder may not be what it should be."""
    model = run.settings.model
    refuse_unknown_encoder(model.encoder, run.locations)
    images = data.test.images[:2].float() / 255
    try:
        encoder = _encoder(run, data).eval()
        with torch.no_grad():
            features = encoder(images)
    except Exception as error:
        shape = " x ".join(str(n) for n in images.shape[1:])
        raise run.locations.complaint(
            "model.encoder",
            f"is {model.encoder!r}, which cannot embed the images of {data.name} ({shape}) with "
            f"model.width {model.width}: {type(error).__name__}: {error}",
        ) from error
    expected = len(images), encoder.num_features
    if features.shape != expected:
        raise run.locations.complaint(
            "model.encoder",
            f"is {model.encoder!r}, which says that it has {encoder.num_features} features but "
            f"maps {len(images)} images to {tuple(features.shape)}; it must be {expected}",
        )


def _check_sizes(run: PlannedRun, data: DataSet, sizes: list[int]) -> None:
    """Refuses batches of a single image for encoders that normalize over a batch of 1 x 1 maps."""
    stream, model, locations = run.settings.stream, run.settings.model, run.locations
    if stream.protocol == "online" and stream.batch_size == 1:
        where, what = locations.of("stream", "batch_size"), "stream.batch_size is 1"
    elif 1 in sizes:
        where = locations.of("stream", "experiences")
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


def _encoder(run: PlannedRun, data: DataSet) -> Encoder:
    model = run.settings.model
    return build_encoder(
        model.encoder,
        channels=data.channels,
        width=model.width,
        norm=model.norm,
        precision=model.precision,
    )
