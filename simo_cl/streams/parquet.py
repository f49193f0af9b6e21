"""Images in Parquet files as data set hubs lay them out: a struct of encoded bytes, and a label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.streams.data_set import DataBrokenError, Images

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_COLUMN = "img"


def parquet_files(folder: Path, split: str) -> list[Path]:
    """The files of a split ("train" or "test"), in order."""
    return sorted(folder.glob(f"{split}*.parquet"))


def columns(files: list[Path]) -> list[str]:
    """Column names of the first file."""
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(files[0]).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(files[0], error) from error


def count_rows(files: list[Path]) -> int:
    import pyarrow.parquet

    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)


def is_jpeg(files: list[Path]) -> bool:
    """Whether the images were compressed with loss; judged by the first."""
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.ParquetFile(files[0]).iter_batches(1, columns=[IMAGE_COLUMN])
        first = next(rows)[IMAGE_COLUMN][0].as_py()["bytes"]
    except (pyarrow.ArrowException, OSError, StopIteration, TypeError, KeyError) as error:
        raise _unreadable(files[0], error) from error
    return first[:2] == b"\xff\xd8"


def read_images(files: list[Path], label_column: str, size: int) -> Images:
    """Decode every image.

    Args:
        files: files with the columns `img` (struct with `bytes`) and `label_column`.
        label_column: name of the integer column of labels.
        size: height and width that every image must have.

    Raises:
        DataBrokenError: a file or an image cannot be read, or an image has another size.
    """
    import torch

    parts = [_read_file(file, label_column, size) for file in files]
    return Images(
        torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    )


def _read_file(file: Path, label_column: str, size: int) -> Images:
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet
    import torch

    try:
        table = pyarrow.parquet.read_table(file, columns=[IMAGE_COLUMN, label_column])
        encoded = pyarrow.compute.struct_field(table[IMAGE_COLUMN], "bytes")
        labels = torch.tensor(table[label_column].to_pylist(), dtype=torch.int64)
    except (pyarrow.ArrowException, OSError, TypeError) as error:
        raise _unreadable(file, error) from error
    images = torch.empty((len(labels), 3, size, size), dtype=torch.uint8)
    for row, cell in enumerate(encoded):
        images[row] = _decode(cell.as_py(), size, file, row)
    return Images(images, labels)


def _decode(encoded: bytes, size: int, file: Path, row: int) -> Tensor:
    import torch
    from torchvision.io import ImageReadMode, decode_image

    try:
        # A copy into a bytearray, because torch warns about memory it must not write to.
        image = decode_image(
            torch.frombuffer(bytearray(encoded), dtype=torch.uint8), ImageReadMode.RGB
        )
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataBrokenError(
            f"{file}, row {row}: not a readable image ({error}). Copy the file again."
        ) from error
    if image.shape != (3, size, size):
        raise DataBrokenError(
            f"{file}, row {row}: the image is {image.shape[2]}x{image.shape[1]}; expected "
            f"{size}x{size}. Is this another data set?"
        )
    return image


def _unreadable(file: Path, error: Exception) -> DataBrokenError:
    return DataBrokenError(
        f"{file}: not a readable Parquet file of images, a column '{IMAGE_COLUMN}' of structs with "
        f"'bytes' and a column of labels ({error}). Copy or download the file again."
    )
