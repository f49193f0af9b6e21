"""MNIST, Fashion-MNIST and KMNIST: four IDX files, as they are distributed or downloaded.

IDX holds an array of bytes, plain or packed by gzip.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simo_cl.streams.data_set import DataBrokenError, DataNotFoundError, DataSet, Images
from simo_cl.streams.torchvision_download import download

_DIMENSIONS = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
"""The files of each of these data sets, which are told apart by their folder or their content."""

# By the classes' names in torchvision.
_FIRST_LABELS = {
    "MNIST": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
    "FashionMNIST": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
}
_TRAINING_IMAGES = 60_000
_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True)
class MNISTSource:
    """One of the data sets in MNIST's file format.

    Args:
        name: the data source's name.
        title: its name in prose.
        class_name: of torchvision's class and of the folder it downloads to.
        elsewhere: how to get it without torchvision.
    """

    name: str
    title: str
    class_name: str
    elsewhere: str = ""

    @property
    def how_to_get(self) -> str:
        return f"simo-cl data fetch {self.name}{self.elsewhere}"

    def load(self, root: Path) -> DataSet:
        """60,000 training and 10,000 test images, 1 x 28 x 28."""
        import torchvision.datasets

        files = self._files(root)
        return DataSet(
            self.name,
            self._read(files, "train"),
            self._read(files, "t10k"),
            tuple(getattr(torchvision.datasets, self.class_name).classes),
            self.title,
        )

    def find(self, root: Path) -> tuple[str, str]:
        files = self._files(root)
        train, test = self._array(files, "train-labels"), self._read(files, "t10k")
        return str(files["train-labels"].parent), f"{len(train)} + {len(test)} images"

    def fetch(self, root: Path) -> Path:
        download(self.title, self.class_name, root)
        return root / self.class_name / "raw"

    def _files(self, root: Path) -> dict[str, Path]:
        """The four files, by their keys in `_DIMENSIONS`."""
        bases = list(dict.fromkeys([root, root / self.name, root / self.title.lower()]))
        places = [b / below for b in bases for below in (f"{self.class_name}/raw", "raw", "")]
        incomplete: Path | None = None
        remark = ""
        for folder in places:
            files = _files_in(folder)
            if len(files) == len(_DIMENSIONS):
                if not self._is_another(files):
                    return files
                remark = f"{folder} is not it: the labels there are not {self.title}'s."
            elif files:
                incomplete = incomplete or folder
        if incomplete is not None:
            raise self._incomplete(incomplete)
        looked_for = (
            "train-images-idx3-ubyte and the three files that belong to it, packed (.gz) or not, "
            f"in {self.class_name}/raw, in raw, or themselves"
        )
        raise DataNotFoundError(self.name, looked_for, bases, self.how_to_get, remark)

    def _is_another(self, files: dict[str, Path]) -> bool:
        """Whether these are known to be the files of another data set."""
        try:
            labels = self._array(files, "train-labels").tolist()
        except DataBrokenError:
            return False
        for class_name, first in _FIRST_LABELS.items():
            if labels[: len(first)] == first:
                return class_name != self.class_name
        # What begins otherwise may still be a part of the data, or all in another order.
        names = {self.name, self.title.lower(), self.class_name}
        is_named = not names.isdisjoint(files["train-labels"].absolute().parts)
        known = self.class_name in _FIRST_LABELS
        return known and len(labels) == _TRAINING_IMAGES and not is_named

    def _read(self, files: dict[str, Path], part: str) -> Images:
        import torch

        images, labels = (self._array(files, f"{part}-{what}") for what in ("images", "labels"))
        if len(images) != len(labels):
            raise DataBrokenError(
                f"{files[f'{part}-images'].parent}: {self.title} is incomplete or damaged: "
                f"{part}-images are {len(images)}, {part}-labels {len(labels)}. Replace the file "
                "that is wrong."
            )
        return Images(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    def _array(self, files: dict[str, Path], key: str) -> np.ndarray:
        try:
            values = _read_idx(files[key])
            if values.ndim != _DIMENSIONS[key]:
                raise ValueError(f"it has {values.ndim} dimensions, not {_DIMENSIONS[key]}")
        except (OSError, ValueError) as error:
            raise DataBrokenError(
                f"{files[key]}: {self.title} is incomplete or damaged: {error}. Replace this file "
                f"by a sound one, or move it away and get it anew: {self.how_to_get}"
            ) from error
        return values

    def _incomplete(self, folder: Path) -> DataBrokenError:
        missing = [_names(key)[0] for key in _DIMENSIONS if key not in _files_in(folder)]
        return DataBrokenError(
            f"{folder}: {self.title} is incomplete or damaged: {', '.join(missing)} not found, "
            f"packed (.gz) or not. Put it beside the others, or get all: {self.how_to_get}"
        )


def _files_in(folder: Path) -> dict[str, Path]:
    found = {}
    for key in _DIMENSIONS:
        files = [folder / name for name in _names(key) if (folder / name).is_file()]
        if files:
            found[key] = files[0]
    return found


def _names(key: str) -> list[str]:
    """The names of a file, unpacked before packed; some who distribute it write a dot."""
    ending = f"idx{_DIMENSIONS[key]}-ubyte"
    return [f"{key}{mark}{ending}{packed}" for packed in ("", ".gz") for mark in "-."]


def _read_idx(file: Path) -> np.ndarray:
    """The file's array of uint8; it is unpacked where its name ends in .gz.

    Raises:
        ValueError: it is not whole, or of another format or type.
        OSError: it cannot be read.
    """
    content = file.read_bytes()
    if file.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"it cannot be unpacked: {error}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise ValueError("it does not begin as an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError("it ends within its header")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    # As a bytearray, an array that may be written to.
    values = np.frombuffer(bytearray(content), np.uint8, offset=start)
    expected = int(np.prod(shape, dtype=np.int64))
    if len(values) != expected:
        raise ValueError(f"it holds {len(values):,} values, where its header says {expected:,}")
    return values.reshape(shape)


MNIST = MNISTSource("mnist", "MNIST", "MNIST")
FASHION_MNIST = MNISTSource(
    "fashion_mnist",
    "Fashion-MNIST",
    "FashionMNIST",
    ", or Debian's package dataset-fashion-mnist with --data-root /usr/share/datasets",
)
KMNIST = MNISTSource("kmnist", "KMNIST", "KMNIST")
