"""Class-incremental streams as Avalanche benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from avalanche.benchmarks.scenarios.dataset_scenario import benchmark_from_datasets
from avalanche.benchmarks.scenarios.generic_scenario import CLScenario
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from torch import Tensor, nn

from simo_cl.streams.augmentation_names import Augmentation
from simo_cl.streams.data_set import DataBrokenError, DataSet
from simo_cl.streams.image_store import ImageStore, Normalization, image_store
from simo_cl.streams.resident import ResidentDataset
from simo_cl.streams.sources import load_data


class ClassIncremental(CLScenario):
    """A class-incremental benchmark.

    Attributes:
        train_stream, test_stream, valid_stream: streams of experiences; the last only where a
            validation split was asked for.
        data: the data set.
        n_classes: number of classes.
        classes_order: the labels in the order in which they appear.
        classes_per_experience: the labels of each training experience.
        n_classes_per_exp: their numbers, which iCaRL reads.
    """

    def __init__(self, scenario: CLScenario, data: DataSet, training: list[list[int]]) -> None:
        super().__init__(list(scenario.streams.values()))
        self.data = data
        self.n_classes = data.num_classes
        self.classes_per_experience = training
        self.classes_order = [label for labels in training for label in labels]
        self.n_classes_per_exp = [len(labels) for labels in training]
        for stream in self.streams.values():
            stream.benchmark = self
            for experience in stream:
                experience.benchmark = self


def class_incremental(
    data: str | DataSet,
    *,
    experiences: int = 5,
    class_order: Sequence[int] | None = None,
    seed: int | None = 0,
    validation: float = 0.0,
    augment: Sequence[Augmentation] = (),
    normalization: Normalization | None = None,
    joint: bool = False,
    encoder: nn.Module | None = None,
    root: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> ClassIncremental:
    """A benchmark whose experiences bring new classes.

    The images are one tensor on the device; experiences are index arrays into it, and each batch is
    gathered, augmented and normalized at once (see :class:`simo_cl.ResidentDataset`).

    Labels keep the data set's own numbers. Batches are (images, labels, task labels), the last all
    0: strategies are not told the experience at test time. Torch's and numpy's global generators
    are not touched.

    Args:
        data: a data set or the name of a data source.
        experiences: into how many parts the classes are divided: C // experiences in each, the
            remainder in the last. 1 is the joint stream.
        class_order: every label once, in the order of appearance; default: a permutation drawn by
            `seed`.
        seed: of the class order and of the validation split; None keeps the natural order.
        validation: the share of each class's training samples that goes to `valid_stream`, in
            [0, 1); 0: no such stream.
        augment: names of augmentations for the training stream (see `BatchTransform`), each sample
            independently at each access. Evaluation, also of training data in Avalanche's
            group "eval", only normalizes.
        normalization: mean and standard deviation of each channel, of pixels in [0, 1]; default:
            those of the training images. ((0, 0, 0), (1, 1, 1)) leaves pixels in [0, 1].
        joint: train on all classes in one experience, and test in as many as `experiences` says.
        encoder: gives the features (N, F) of normalized images, in evaluation mode on the device.
            They are computed once, and samples have them in place of the images.
        root: the data root for a name (see `load_data`).
        device: where the images stay and the batches are made: that of the training.

    Raises:
        ValueError: an argument out of range; the message says what is allowed.
        DataError: the data cannot be had, or a class has no sample.

    Example:
        >>> benchmark = class_incremental("digits", experiences=5, class_order=range(10))
        >>> [e.classes_in_this_experience for e in benchmark.train_stream][:2]
        [{0, 1}, {2, 3}]
    """
    if encoder is not None and augment:
        raise ValueError(
            f"augment is {list(augment)}, and features that are computed once are of images that "
            "are not augmented; leave out either augment or encoder"
        )
    if seed is not None and (not isinstance(seed, Integral) or seed < 0):
        raise ValueError(f"seed must be a whole number from 0 on, or None, got {seed!r}")
    if isinstance(data, str):
        data = load_data(data, root)
    order = _class_order(class_order, seed, data.num_classes)
    parts = _parts(order, experiences)
    train, valid = _split(data.train.labels, validation, 0 if seed is None else seed)
    training = [order] if joint else parts
    images = image_store(data, "train", augment, normalization, device)
    test_images = image_store(data, "test", (), normalization, device)
    if encoder is not None:
        images, test_images = images.embedded(encoder), test_images.embedded(encoder)
    every = torch.arange(len(data.test))
    streams = {
        "train": _datasets(data, images, train, training, "train"),
        "test": _datasets(data, test_images, every, parts, "eval"),
    }
    if validation > 0:
        streams["valid"] = _datasets(data, images, valid, parts, "eval")
    scenario = with_task_labels(with_classes_timeline(benchmark_from_datasets(**streams)))
    return ClassIncremental(scenario, data, training)


def _class_order(given: Sequence[int] | None, seed: int | None, num_classes: int) -> list[int]:
    if given is None:
        if seed is None:
            return list(range(num_classes))
        return np.random.default_rng(seed).permutation(num_classes).tolist()
    order = list(given)
    if sorted(order) != list(range(num_classes)):
        raise ValueError(
            f"class_order is {order}; it must hold every label from 0 to {num_classes - 1} once."
        )
    return [int(label) for label in order]


def _parts(order: list[int], experiences: int) -> list[list[int]]:
    if not 1 <= experiences <= len(order):
        raise ValueError(
            f"experiences is {experiences}; with {len(order)} classes it must be from 1 to "
            f"{len(order)}."
        )
    size = len(order) // experiences
    return [part.tolist() for part in np.split(order, range(size, size * experiences, size))]


def _split(labels: Tensor, validation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers of the training and of the validation samples, each in ascending order."""
    if not 0 <= validation < 1:
        raise ValueError(f"validation is {validation}; it must be at least 0 and less than 1.")
    in_validation = torch.zeros(len(labels), dtype=torch.bool)
    # A stream of random numbers of its own, so that it does not follow the class order's.
    generator = np.random.default_rng([seed, 1])
    for label in labels.unique().tolist():
        rows = torch.nonzero(labels == label).flatten()
        count = round(validation * len(rows))
        in_validation[rows[torch.from_numpy(generator.permutation(len(rows))[:count])]] = True
    return torch.nonzero(~in_validation).flatten(), torch.nonzero(in_validation).flatten()


def _datasets(
    data: DataSet, store: ImageStore, rows: Tensor, parts: list[list[int]], group: str
) -> list[ResidentDataset]:
    """A data set for each part of the classes, of the given rows."""
    labels = store.labels[rows]
    for label, count in enumerate(torch.bincount(labels, minlength=data.num_classes).tolist()):
        if count == 0:
            raise DataBrokenError(
                f"{data.name}: the class '{data.class_names[label]}' (label {label}) has no sample "
                f"among the {len(rows)} of one of the streams. Give it samples, remove it from the "
                "class names, or change the validation share."
            )
    return [
        ResidentDataset(store, rows[torch.isin(labels, torch.tensor(part))], group)
        for part in parts
    ]
