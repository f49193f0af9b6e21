"""Avalanche data sets whose samples stay on the training device until a batch is made.

A sample is a light handle, :class:`Row`. The collate function gathers and transforms the images of
a whole batch at once. It is registered with torch for rows, so that every loader finds it, also
those that Avalanche's strategies build for themselves.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    ConstantSequence,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
    TransformGroups,
)
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from simo_cl.streams.augmentation_names import Augmentation
from simo_cl.streams.batch import Batch
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.streams.data_set import DataSet
from simo_cl.streams.image_store import ImageStore, Normalization, Transform, image_store
from simo_cl.streams.torchvision_style import images_of


class Row:
    """A sample: an image and a label of a store, and what Avalanche appends to them.

    It reads as the sequence (image, label, *appended) where code asks for a single sample, with the
    image in host memory, as loaders expect of samples; without a group it is uint8 as in the data
    set.
    """

    __slots__ = ("appended", "group", "number", "store")

    def __init__(self, store: ImageStore, number: int, group: str | None, *appended: Any) -> None:
        self.store = store
        self.number = number
        self.group = group
        self.appended = list(appended)

    def append(self, value: Any) -> None:
        self.appended.append(value)

    def __len__(self) -> int:
        return 2 + len(self.appended)

    def __getitem__(self, item: int) -> Any:
        return list(self)[item]

    def __iter__(self) -> Iterator[Any]:
        if self.group is None:
            yield self.store.raw(self.number)
        else:
            yield self.store.batch([self.number], self.group)[0][0].cpu()
        yield int(self.store.labels[self.number])
        yield from self.appended


def collate(samples: Sequence[Any], **_: Any) -> Batch:
    """A batch of rows, also of several stores and mixed with ordinary samples.

    Args:
        samples: rows, and (image, label, ...) sequences of the same length.

    Returns:
        The images, the labels, and the collated rest, one entry each.
    """
    first = samples[0]
    for row in samples:
        if type(row) is not Row or row.store is not first.store or row.group != first.group:
            return _collate_mixed(samples)
    images, labels = first.store.batch([row.number for row in samples], first.group)
    appended = zip(*[row.appended for row in samples], strict=True)
    return Batch([images, labels, *(default_collate(list(values)) for values in appended)])


def _collate_mixed(samples: Sequence[Any]) -> Batch:
    positions: dict[Any, list[int]] = defaultdict(list)
    for position, sample in enumerate(samples):
        key = (sample.store.name, sample.group) if type(sample) is Row else None
        positions[key].append(position)
    parts = []
    for key, places in positions.items():
        members = [samples[place] for place in places]
        parts.append(default_collate(members) if key is None else collate(members))
    order = torch.tensor([place for places in positions.values() for place in places]).argsort()
    devices = [part[0].device for key, part in zip(positions, parts, strict=True) if key]
    device = devices[0] if devices else parts[0][0].device
    columns = zip(*parts, strict=True)
    return Batch(torch.cat([part.to(device) for part in c])[order.to(device)] for c in columns)


# The extension point that torch documents for types of one's own.
default_collate_fn_map[Row] = collate


class ResidentDataset(TaskAwareSupervisedClassificationDataset):
    """An Avalanche classification data set: rows of an :class:`ImageStore`.

    Subsets and concatenations are index arrays. Whatever Avalanche does beyond that (attributes of
    its own, other transforms, concatenation with other data) gives one of its own data sets, which
    is slower but just as correct.

    Args:
        store: the images.
        rows: row numbers (N,), or a sequence of them.
        group: of the store's transforms, "train" or "eval".
        tasks: task labels (N,); ``None``: all 0.

    Example:
        >>> experience = class_incremental("digits", experiences=5).train_stream[0]
        >>> isinstance(experience.dataset, ResidentDataset), sorted(set(experience.dataset.targets))
        (True, [4, 6])
    """

    def __init__(
        self,
        store: ImageStore,
        rows: NDArray[np.int64] | Sequence[int] | Tensor,
        group: str = "train",
        tasks: NDArray[np.int64] | None = None,
    ) -> None:
        self.store = store
        self.rows = np.asarray(rows, dtype=np.int64)
        self.group = group
        self.tasks = tasks
        self.collate_fn = collate

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return self.subset(range(len(self))[item])
        task = 0 if self.tasks is None else int(self.tasks[item])
        return Row(self.store, int(self.rows[item]), self.group, task)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ResidentDataset)
            and self.store is other.store
            and self.group == other.group
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self._tasks, other._tasks)
        )

    __hash__ = TaskAwareSupervisedClassificationDataset.__hash__

    def __repr__(self) -> str:
        return f"ResidentDataset of {len(self)} samples on {self.store.device}, {self.group}"

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of each channel, which the images are normalized by."""
        transform = self.store.transforms["eval"]
        if not isinstance(transform, BatchTransform):
            raise ValueError("these samples are features, which are not normalized")
        return transform.mean, transform.std

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels (N,)."""
        return self.store.labels.numpy()[self.rows]

    @cached_property
    def targets(self) -> DataAttribute:
        return DataAttribute(self.labels.tolist(), "targets")

    @cached_property
    def targets_task_labels(self) -> DataAttribute:
        if self.tasks is None:
            return TaskLabels(ConstantSequence(0, len(self)))
        return TaskLabels(self.tasks.tolist())

    def subset(self, indices: Any) -> ResidentDataset:
        if isinstance(indices, Tensor):
            indices = indices.cpu()
        elif not isinstance(indices, (np.ndarray, range)):
            indices = list(indices)
        index = np.asarray(indices)
        if index.size and index.dtype.kind not in "iu":
            raise TypeError(
                f"the indices of a subset are {index.dtype}; give integers, which np.flatnonzero "
                "makes of a mask"
            )
        index = index.astype(np.int64, copy=False)
        tasks = None if self.tasks is None else self.tasks[index]
        return ResidentDataset(self.store, self.rows[index], self.group, tasks)

    def concat(self, other: Any) -> Any:
        if len(other) == 0:
            return self
        if not isinstance(other, ResidentDataset) or other.store is not self.store:
            joined = TaskAwareSupervisedClassificationDataset([self, other])
            return joined.with_transforms(self.group)
        plain = self.tasks is None and other.tasks is None
        tasks = None if plain else np.concatenate([self._tasks, other._tasks])
        rows = np.concatenate([self.rows, other.rows])
        return ResidentDataset(self.store, rows, self.group, tasks)

    def with_transforms(self, group_name: str) -> ResidentDataset:
        if group_name not in self.store.transforms:
            raise ValueError(
                f"there is no transform group {group_name!r}; these data have "
                f"{', '.join(map(repr, self.store.transforms))}"
            )
        return ResidentDataset(self.store, self.rows, group_name, self.tasks)

    def update_data_attribute(self, name: str, new_value: Any) -> Any:
        if name == "targets_task_labels":
            tasks = np.asarray(list(new_value), dtype=np.int64)
            if len(tasks) != len(self):
                raise ValueError(f"{len(tasks)} task labels were given for {len(self)} samples")
            return ResidentDataset(self.store, self.rows, self.group, tasks)
        return TaskAwareSupervisedClassificationDataset([self]).update_data_attribute(
            name, new_value
        )

    def freeze_transforms(self) -> Any:
        return self.sample_by_sample().freeze_transforms()

    def remove_current_transform_group(self) -> Any:
        return self.sample_by_sample().remove_current_transform_group()

    def replace_current_transform_group(self, transform: Any) -> Any:
        return self.sample_by_sample().replace_current_transform_group(transform)

    def sample_by_sample(self) -> TaskAwareSupervisedClassificationDataset:
        """The same samples as Avalanche's own data set, which transforms one image at a time."""
        return TaskAwareSupervisedClassificationDataset(
            [_Rows(self.store, self.rows)],
            data_attributes=list(self._data_attributes.values()),
            transform_groups=TransformGroups(_of_one_image(self.store)),
            collate_fn=collate,
        ).with_transforms(self.group)

    @property
    def _tasks(self) -> NDArray[np.int64]:
        return np.zeros(len(self), np.int64) if self.tasks is None else self.tasks

    # What Avalanche reads of a data set that it makes another one of.

    @property
    def _data_attributes(self) -> OrderedDict[str, DataAttribute]:
        return OrderedDict(targets=self.targets, targets_task_labels=self.targets_task_labels)

    @cached_property
    def _flat_data(self) -> Any:
        rows = AvalancheDataset(
            [_Rows(self.store, self.rows)], transform_groups=_GroupsOfRows(self.store)
        )
        return rows.with_transforms(self.group)._flat_data


def resident_dataset(
    dataset: Any,
    *,
    augment: Sequence[Augmentation] = (),
    normalization: Normalization | None = None,
    device: torch.device | str = "cpu",
    group: Literal["train", "eval"] = "train",
) -> ResidentDataset:
    """Any torchvision-style data set, as an Avalanche data set on the training device.

    Args:
        dataset: samples of a picture and a label, without transforms; see :func:`images_of`.
        augment: names of augmentations for the group "train"; see :class:`BatchTransform`.
        normalization: mean and standard deviation of each channel, of pixels in [0, 1]; default:
            those of these images. For test data, give the training data's:
            ``train.normalization``.
        device: that of the training.
        group: "train" or, for test data, "eval".

    Raises:
        ValueError: data that are transformed already, an unknown augmentation or group.
        DataBrokenError: no picture, pictures that are no uint8 pixels, or of several sizes.

    Example:
        >>> from torchvision.datasets import FakeData
        >>> train = resident_dataset(FakeData(20, (3, 8, 8), num_classes=4), augment=["flip"])
        >>> from avalanche.benchmarks import class_incremental_benchmark
        >>> benchmark = class_incremental_benchmark({"train": train}, num_experiences=2)
    """
    images = images_of(dataset)
    num_classes = int(images.labels.max()) + 1
    name = type(dataset).__name__
    data = DataSet(name, images, images, tuple(map(str, range(num_classes))), name)
    store = image_store(data, "train", augment, normalization, device)
    return ResidentDataset(store, np.arange(len(images))).with_transforms(group)


class _Rows(Dataset):
    """Rows without a group, which Avalanche's transform groups give them."""

    def __init__(self, store: ImageStore, rows: NDArray[np.int64]) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return Row(self._store, int(self._rows[index]), None)


class _GroupsOfRows(TransformGroups):
    """Tells rows their group, so that their batch is transformed at once.

    Transforms that Avalanche puts in the place of the store's are applied to the row's image.
    """

    def __init__(self, store: ImageStore) -> None:
        super().__init__(_of_one_image(store))
        self._of_store = dict(self.transform_groups)

    def __call__(self, row: Row, group_name: str | None = None) -> Any:
        group = self.current_group if group_name is None else group_name
        if self.transform_groups[group] is not self._of_store.get(group):
            return super().__call__(row, group_name=group)
        row.group = group
        return row


def _of_one_image(store: ImageStore) -> dict[str, tuple[Transform, None]]:
    return {name: (partial(_transform_one, each), None) for name, each in store.transforms.items()}


def _transform_one(transform: Transform, image: Tensor) -> Tensor:
    return transform(image[None])[0]
