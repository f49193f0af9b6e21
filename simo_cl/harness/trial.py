"""A run made small, which trains as the whole one does, on a few images and for a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from simo_cl.harness.execute_run import Progress
from simo_cl.harness.settings import RunSettings
from simo_cl.streams import DataSet, Images


def few_images(
    data: DataSet, settings: RunSettings, *, of_an_experience: float, samples: int
) -> DataSet:
    """The first images of each class, as many of each.

    Args:
        data: of the whole run.
        settings: of the whole run.
        of_an_experience: how many of its training images half of the classes are to have, at least.
        samples: of each class in the test images, and at least in the training images.
    """
    validation = settings.stream.validation
    of_a_class = of_an_experience / max(1, data.num_classes // 2) / (1 - validation)
    if validation:
        of_a_class = max(of_a_class, 2 / validation)
    return first_images(data, max(math.ceil(of_a_class), samples), samples)


def first_images(data: DataSet, train: int, test: int) -> DataSet:
    """The first training and test images of each class, so many of each."""
    parts = _first_per_class(data.train, train), _first_per_class(data.test, test)
    return DataSet(data.name, *parts, data.class_names, data.note)


def in_two_experiences(
    settings: RunSettings, data: DataSet, *, steps: int, samples: int
) -> RunSettings:
    """The same settings but for two experiences, with about so many steps in each.

    Online, the steps follow from the images.

    Args:
        settings: of the whole run.
        data: few images.
        steps: of an experience.
        samples: a class, in an evaluation.
    """
    stream, training = settings.stream, settings.training
    if stream.protocol == "batch":
        of_an_experience = len(data.train) * (1 - stream.validation) / 2
        epochs = steps * training.batch_size / of_an_experience
        training = training.model_copy(update={"epochs": epochs, "new_epochs": None})
    experiences = {"experiences": min(2, stream.experiences), "class_order": "natural"}
    return settings.model_copy(
        update={
            "stream": stream.model_copy(update=experiences),
            "training": training,
            "evaluation": settings.evaluation.model_copy(update={"samples_per_class": samples}),
        }
    )


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
