"""The data sources by name: load one, say which are there, fetch one, add one."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simo_cl.registry import Registry, UnknownNameError, did_you_mean
from simo_cl.streams import cifar, digits, image_folder, mnist
from simo_cl.streams.data_set import (
    DataBrokenError,
    DataError,
    DataNotFoundError,
    DataSet,
    UnknownDataError,
)


@dataclass(frozen=True)
class DataSource:
    """A named way to load data.

    Args:
        name: what suites call it.
        load: reads it from below a root folder; raises `DataError`.
        description: one line.
        how_to_get: one line, for somebody who does not have it.
        find: says where and in which form the data lie, without reading the images; raises
            `DataError`. Without it, checking the data means loading them.
        fetch: downloads the data below a root folder.
        file: the user's file that registered it; empty for our own.
    """

    name: str
    load: Callable[[Path], DataSet]
    description: str
    how_to_get: str
    find: Callable[[Path], tuple[str, str]] | None = None
    fetch: Callable[[Path], Path] | None = None
    file: str = ""


@dataclass(frozen=True)
class DataStatus:
    """What `check_data` says of one data source; `where` is empty where nothing was found.

    Example:
        >>> next(status for status in check_data() if status.found)  # doctest: +ELLIPSIS
        DataStatus(name='digits', found=True, ...)
    """

    name: str
    found: bool
    where: str
    detail: str


def load_data(name: str, root: str | Path | None = None) -> DataSet:
    """Load a data set into memory.

    Args:
        name: one of `data_source_names()`.
        root: the folder that the data lie in, directly or in a folder of the data set's name;
            default: see `data_root`.

    Raises:
        UnknownDataError: no source has this name.
        DataNotFoundError: it is not there; the message says where and how to get it.
        DataBrokenError: it is there but cannot be used.

    Example:
        >>> digits = load_data("digits")
        >>> digits.train.images.shape, digits.num_classes
        (torch.Size([1347, 1, 8, 8]), 10)
    """
    return _load(_source(name), data_root(root))


def data_source_names() -> list[str]:
    """The names that `load_data` knows.

    Example:
        >>> "digits" in data_source_names()
        True
    """
    return list(_SOURCES)


def register_data_source(
    name: str, load: Callable[[Path], DataSet], *, description: str, how_to_get: str
) -> None:
    """Add a data source of your own.

    Args:
        name: what suites will call it.
        load: takes the data root and returns a `DataSet`. What it raises is told with the line
            that raised it; a `DataError` is told as it is.
        description: one line for lists.
        how_to_get: one line for somebody who does not have the data.

    Raises:
        ValueError: the name is taken.
        TypeError: `load` cannot be called.

    Example:
        >>> from simo_cl.streams import DataSet, Images
        >>> def load(root):
        ...     images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        ...     part = Images(images, torch.tensor([0, 1, 0, 1]))
        ...     return DataSet("mine", train=part, test=part, class_names=("a", "b"), note="mine")
        >>> register_data_source("mine", load, description="Mine.", how_to_get="Ask me.")
        >>> load_data("mine").num_classes
        2
    """
    if not callable(load):
        raise TypeError(
            f"load of the data source '{name}' is of type {type(load).__name__}; give the function "
            "itself, which takes the data root and returns a DataSet."
        )
    code = getattr(load, "__code__", sys._getframe(1).f_code)
    _SOURCES.add(name, DataSource(name, load, description, how_to_get, file=code.co_filename))


def check_data(root: str | Path | None = None) -> list[DataStatus]:
    """Say of every source whether its data are there, where, and in which form.

    Example:
        >>> {status.name: status.found for status in check_data()}["digits"]
        True
    """
    return [_status(source, data_root(root)) for source in _SOURCES.values()]


def fetch_data(name: str, root: str | Path | None = None) -> Path:
    """Download a data set with torchvision.

    Returns:
        The folder it was put in, where `load_data` with the same root finds it.

    Raises:
        UnknownDataError: no source has this name.
        DataError: it cannot be downloaded: there is nothing to download or no connection.

    Example:
        >>> fetch_data("cifar10", "data")  # doctest: +SKIP
        PosixPath('data')
    """
    if name not in _SOURCES:
        there = [other for other, source in _SOURCES.items() if source.fetch is not None]
        raise UnknownDataError(
            f"{name!r} is no data set that can be downloaded; there are {', '.join(there)}."
            f"{did_you_mean(name, there)}"
        )
    source = _source(name)
    if source.fetch is None:
        raise DataError(f"{name}: nothing to download. {source.how_to_get}")
    return source.fetch(data_root(root))


def data_root(root: str | Path | None = None) -> Path:
    """The folder that data are looked for in: the given one, else $SIMO_CL_DATA, else ./data.

    Example:
        >>> data_root("~/data").name
        'data'
    """
    given = os.environ.get("SIMO_CL_DATA") or "data" if root is None else root
    return Path(given).expanduser()


_DOWNLOADED: dict[cifar.CIFARSource | mnist.MNISTSource, str] = {
    cifar.CIFAR10: "photographs, 32x32 colour, 60,000 images, 10 classes",
    cifar.CIFAR100: "photographs, 32x32 colour, 60,000 images, 100 classes",
    mnist.MNIST: "handwritten digits, 28x28 grey, 70,000 images, 10 classes",
    mnist.FASHION_MNIST: "clothes, 28x28 grey, 70,000 images, 10 classes",
    mnist.KMNIST: "cursive Japanese characters, 28x28 grey, 70,000 images, 10 classes",
}

_SOURCES: Registry[DataSource] = Registry(
    "a data set",
    {
        source.name: source
        for source in (
            DataSource(
                "digits",
                digits.load,
                "handwritten digits, 8x8 grey, 1,797 images, 10 classes",
                "It comes with scikit-learn.",
                find=digits.find,
            ),
            *(
                DataSource(s.name, s.load, description, s.how_to_get, find=s.find, fetch=s.fetch)
                for s, description in _DOWNLOADED.items()
            ),
            DataSource(
                "image_folder",
                image_folder.load,
                "your own images, train/<class>/* and test/<class>/*, all of one size",
                image_folder.HOW_TO_GET,
                find=image_folder.find,
            ),
        )
    },
)


def _source(name: str) -> DataSource:
    try:
        return _SOURCES[name]
    except UnknownNameError as error:
        raise UnknownDataError(str(error)) from None


def _load(source: DataSource, root: Path) -> DataSet:
    if not source.file:
        return source.load(root)
    origin = f"the data source '{source.name}' of {source.file}"
    try:
        data = source.load(root)
    except DataError:
        raise
    except Exception as error:
        lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == source.file]
        line = f" at line {lines[-1].lineno}" if lines else ""
        raise DataBrokenError(
            f"{origin} failed{line}: {type(error).__name__}: {error}\n  To get the data: "
            f"{source.how_to_get}"
        ) from error
    if not isinstance(data, DataSet):
        raise DataBrokenError(
            f"{origin} gave a {type(data).__name__}: load(root) must return a "
            "simo_cl.streams.DataSet(name, train, test, class_names, note), where train and test "
            "are Images(images, labels): uint8 (N, channels, size, size) and int64 (N,)."
        )
    return data


def _status(source: DataSource, root: Path) -> DataStatus:
    try:
        if source.find is not None:
            where, detail = source.find(root)
        else:
            data = _load(source, root)
            where, detail = str(root), f"{len(data.train)} + {len(data.test)} images"
    except DataNotFoundError as error:
        detail = " ".join(filter(None, ("not found.", error.remark, source.how_to_get)))
        return DataStatus(source.name, False, "", detail)
    except DataError as error:
        return DataStatus(source.name, False, "", str(error))
    return DataStatus(source.name, True, where, detail)
