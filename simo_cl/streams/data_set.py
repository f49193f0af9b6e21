"""What a data source gives: labelled images of one size, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class DataError(Exception):
    """Something about the data: the message says what, where, and what to do."""


class DataNotFoundError(DataError):
    """The data set is not in any of the folders looked in.

    Attributes:
        remark: what was found instead, as a sentence; may be empty.
    """

    def __init__(
        self,
        name: str,
        looked_for: str,
        looked_in: Iterable[Path],
        how_to_get: str,
        remark: str = "",
    ) -> None:
        self.remark = remark
        folders = ", ".join(str(folder.absolute()) for folder in looked_in)
        super().__init__(
            f"{name}: not found. Looked for {looked_for} in: {folders}."
            + (f" {remark}" if remark else "")
            + f"\n  To get it: {how_to_get}"
            + "\n  Have it elsewhere: name the folder by --data-root, in Python by root=, or by the"
            " variable SIMO_CL_DATA."
            + "\n  No network: the data set 'digits' comes with the installation; 'image_folder'"
            " and a source of your own (--plugins) read images you have."
        )


class DataBrokenError(DataError):
    """The data set is there, but cannot be read or is not what it should be."""


class UnknownDataError(DataError):
    """No data source has this name."""


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Args:
        images: uint8 (N, channels, size, size).
        labels: int64 (N,), each in [0, number of classes).

    Example:
        >>> len(Images(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])))
        4
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """Training and test images with the names of their classes.

    Args:
        name: the data source's name, e.g. "cifar10".
        train: training images.
        test: test images, of the same size and with the same number of channels.
        class_names: the name of each label, in the labels' order.
        note: how to call these data beside a result, e.g. "CIFAR-10" or "CIFAR-10, JPEG copy".

    Raises:
        DataBrokenError: a tensor has the wrong type or shape, or a label has no name.

    Example:
        >>> both = Images(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
        >>> data = DataSet("mine", both, both, class_names=("cat", "dog"), note="mine")
        >>> data.num_classes, data.channels, data.size
        (2, 3, 8)
    """

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]
    note: str

    def __post_init__(self) -> None:
        for part, data in (("train", self.train), ("test", self.test)):
            _check(f"{self.name}, {part}", data, len(self.class_names))
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataBrokenError(
                f"{self.name}: training images are {_shape(self.train)}, test images "
                f"{_shape(self.test)} (channels x height x width); they must be alike."
            )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> int:
        """Height and width of an image in pixels."""
        return self.train.images.shape[-1]

    @cached_property
    def digest(self) -> str:
        """A fingerprint of all images, labels and class names."""
        parts = (self.train, self.test)
        digest = hashlib.sha256(repr(self.class_names).encode())
        for tensor in (t for part in parts for t in (part.images, part.labels)):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over the training images, in [0, 1]."""
        return self._mean_and_std[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the training images' pixels, in (0, 1]."""
        return self._mean_and_std[1]

    @cached_property
    def _mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        import torch

        # From the histogram of grey levels: all pixels as floats would take a gigabyte.
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.stack(
            [channel.flatten().bincount(minlength=256) for channel in self.train.images.unbind(1)]
        ).double()
        shares = counts / counts.sum(dim=1, keepdim=True)
        mean = shares @ levels
        variance = shares @ levels.square() - mean.square()
        # One grey level at least, so that a constant channel can be normalized.
        std = variance.clamp_min(1.0).sqrt()
        return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _check(where: str, data: Images, num_classes: int) -> None:
    import torch

    if not isinstance(data, Images):
        raise DataBrokenError(
            f"{where} is a {type(data).__name__}; expected Images(images, labels)."
        )
    images, labels = data.images, data.labels
    for what, values in (("images", images), ("labels", labels)):
        if not isinstance(values, torch.Tensor):
            raise DataBrokenError(
                f"{where}: {what} are a {type(values).__name__}; expected a torch.Tensor, which "
                "torch.as_tensor makes of arrays and lists."
            )
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise DataBrokenError(
            f"{where}: images are {images.dtype} {tuple(images.shape)}; expected square uint8 "
            "images of one size, (N, channels, size, size)."
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DataBrokenError(
            f"{where}: labels are {labels.dtype} {tuple(labels.shape)}; expected int64 "
            f"({len(images)},), one for each image."
        )
    if len(labels) == 0:
        raise DataBrokenError(f"{where}: there is no image.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataBrokenError(
            f"{where}: labels run from {low} to {high}, but there are {num_classes} class names; "
            f"allowed are 0 to {num_classes - 1}."
        )


def _shape(data: Images) -> str:
    return " x ".join(str(n) for n in data.images.shape[1:])
