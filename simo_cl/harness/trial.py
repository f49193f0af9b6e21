"""A run made small, which trains as the whole one does, on a few images and for a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from simo_cl.harness.execute_run import Progress
from simo_cl.harness.plan import PlannedRun
from simo_cl.streams import DataSet, Images


def made_small(
    run: PlannedRun, data: DataSet, *, images: int, steps: int, samples: int
) -> tuple[PlannedRun, DataSet]:
    """A run with the same settings but for two experiences and about so many steps in each, and the
    first images of each class that it trains on.

    Online, the steps follow from the images.

    Args:
        run: the whole one.
        data: of the whole run.
        images: how many of its training images half of the classes are to have, at least.
        steps: of an experience.
        samples: of each class in an evaluation, and at least in the training images.
    """
    settings, stream = run.settings, run.settings.stream
    of_a_class = images / max(1, data.num_classes // 2) / (1 - stream.validation)
    if stream.validation:
        of_a_class = max(of_a_class, 2 / stream.validation)
    few = first_images(data, max(math.ceil(of_a_class), samples), samples)
    training = settings.training
    if stream.protocol == "batch":
        of_an_experience = len(few.train) * (1 - stream.validation) / 2
        epochs = steps * training.batch_size / of_an_experience
        training = training.model_copy(update={"epochs": epochs, "new_epochs": None})
    experiences = {"experiences": min(2, stream.experiences), "class_order": "natural"}
    small = settings.model_copy(
        update={
            "stream": stream.model_copy(update=experiences),
            "training": training,
            "evaluation": settings.evaluation.model_copy(update={"samples_per_class": samples}),
        }
    )
    return replace(run, settings=small), few


def first_images(data: DataSet, train: int, test: int) -> DataSet:
    """The first training and test images of each class, so many of each."""
    parts = _first_per_class(data.train, train), _first_per_class(data.test, test)
    return DataSet(data.name, *parts, data.class_names, data.note)


def interrupt(execute: Callable[[Progress], object]) -> bool:
    """Executes a run and stops it after half of its steps.

    Args:
        execute: the run, telling what it is given of its steps.

    Returns:
        Whether it came so far.
    """

    def step(taken: int, total: int) -> None:
        if taken > total / 2:
            raise _Interruption

    try:
        execute(step)
    except _Interruption:
        return True
    return False


class _Interruption(BaseException):
    """Like Ctrl-C no failure of the run, which would be recorded as one."""


def _first_per_class(images: Images, count: int) -> Images:
    rows = [torch.nonzero(images.labels == c).flatten()[:count] for c in images.labels.unique()]
    chosen = torch.cat(rows)
    return Images(images.images[chosen], images.labels[chosen])
