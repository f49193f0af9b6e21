"""Images in folders: train/<class>/* and test/<class>/*."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simo_cl.streams.data_set import DataBrokenError, DataNotFoundError, DataSet, Images
from simo_cl.streams.image_decoding import decode_rgb

HOW_TO_GET = (
    "Put images of one size, height equal to width, into train/<class>/ and test/<class>/ below "
    "the data root."
)
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def load(root: Path) -> DataSet:
    """All images as RGB; classes are numbered in the alphabetical order of their folders' names.

    A warning says how many files of which kind are no images of a class.

    Raises:
        DataNotFoundError: there are no folders train and test.
        DataBrokenError: the classes of train and test differ, a class has no image, an image
            cannot be read or differs from the others in size.
    """
    folder = _folder(root)
    classes = _classes(folder)
    left_out = _left_out(folder)
    if left_out:
        # For the line that calls load_data.
        warnings.warn(f"image_folder: {folder.absolute()}: {left_out}", stacklevel=4)
    return DataSet(
        name="image_folder",
        train=_read(folder / "train", classes),
        test=_read(folder / "test", classes),
        class_names=tuple(classes),
        note=f"images from the folder {folder.resolve().name}",
    )


def find(root: Path) -> tuple[str, str]:
    folder = _folder(root)
    classes = _classes(folder)
    train, test = (
        sum(len(_image_files(folder / split / name)) for name in classes)
        for split in ("train", "test")
    )
    counts = f"{len(classes)} classes, {train} + {test} images"
    return str(folder), "; ".join(filter(None, (counts, _left_out(folder))))


def _folder(root: Path) -> Path:
    candidates = [root, root / "image_folder"]
    for folder in candidates:
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            return folder
    raise DataNotFoundError("image_folder", "the folders train and test", candidates, HOW_TO_GET)


def _classes(folder: Path) -> list[str]:
    train, test = (
        {entry.name for entry in _entries(folder / split) if entry.is_dir()}
        for split in ("train", "test")
    )
    if not train:
        raise DataBrokenError(f"{folder / 'train'}: there is no folder of a class. {HOW_TO_GET}")
    if train != test:
        raise DataBrokenError(
            f"{folder}: train and test must hold the same classes. Only in train: "
            f"{sorted(train - test) or 'none'}; only in test: {sorted(test - train) or 'none'}."
        )
    return sorted(train)


def _read(folder: Path, classes: list[str]) -> Images:
    import torch

    images: list[np.ndarray] = []
    labels: list[int] = []
    first: Path | None = None
    for label, name in enumerate(classes):
        files = _image_files(folder / name)
        if not files:
            raise DataBrokenError(
                f"{folder / name}: the class '{name}' has no image (looked for "
                f"{', '.join(sorted(_SUFFIXES))} in this folder itself)."
            )
        for file in files:
            image = decode_rgb(file, str(file))
            first = first or file
            if image.shape != images[0].shape if images else image.shape[0] != image.shape[1]:
                raise _wrong_size(file, image, first, images)
            images.append(image)
            labels.append(label)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Images(stacked, torch.tensor(labels, dtype=torch.int64))


def _image_files(folder: Path) -> list[Path]:
    return sorted(file for file in _entries(folder) if file.suffix.lower() in _SUFFIXES)


def _entries(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.iterdir() if not _is_hidden(entry.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    """Whether it is the system's and no image of the user's, as the ._ files of macOS."""
    return any(part.startswith(".") for part in path.parts)


def _left_out(folder: Path) -> str:
    """How many files of which kind are not read; empty where there is none."""
    kinds = Counter(
        kind
        for split in (folder / "train", folder / "test")
        for file in split.rglob("*")
        if file.is_file()
        and not _is_hidden(file.relative_to(split))
        and (kind := _kind(file, split))
    )
    if not kinds:
        return ""
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return (
        f"left out: {listed} (read are train/<class>/* and test/<class>/* that end in "
        f"{', '.join(sorted(_SUFFIXES))})"
    )


def _kind(file: Path, split: Path) -> str:
    """What to call a file that is not read; empty for one that is."""
    suffix = file.suffix.lower() or "without ending"
    if file.parent == split:
        return f"{suffix} beside the folders of the classes"
    if file.parent.parent != split:
        return f"{suffix} in sub-folders of a class"
    return "" if suffix in _SUFFIXES else suffix


def _wrong_size(
    file: Path, image: np.ndarray, first: Path, images: list[np.ndarray]
) -> DataBrokenError:
    other = f", but {first} is {images[0].shape[1]}x{images[0].shape[0]}" if images else ""
    return DataBrokenError(
        f"{file} is {image.shape[1]}x{image.shape[0]}{other}. Scale all images to one size with "
        "height equal to width."
    )
