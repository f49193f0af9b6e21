"""Images in Parquet files as data set hubs lay them out: a struct of encoded bytes, and a label."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from simo_cl.streams.data_set import DataBrokenError, Images
from simo_cl.streams.image_decoding import decode_rgb

IMAGE_COLUMN = "img"


def parquet_files(folder: Path, split: str) -> list[Path]:
    """The files of a split ("train" or "test"), in order.

    Raises:
        DataBrokenError: hubs name parts `train-00000-of-00002.parquet`, and one is missing.
    """
    files = sorted(folder.glob(f"{split}*.parquet"))
    numbered = [match for file in files if (match := re.search(r"-of-(\d+)$", file.stem))]
    if numbered and len(files) != int(numbered[0][1]):
        raise DataBrokenError(
            f"{folder}: {len(files)} of the {int(numbered[0][1])} files {split}*.parquet are there "
            f"({', '.join(file.name for file in files)}). Copy all of them, and nothing else of "
            "that name."
        )
    return files


def columns(files: list[Path]) -> list[str]:
    """Column names of the first file."""
    from pyarrow.parquet import read_schema

    with _reading(files[0]):
        schema = read_schema(files[0])
    return list(schema.names)


def count_rows(files: list[Path]) -> int:
    """Number of images, from the files' metadata."""
    from pyarrow.parquet import read_metadata

    count = 0
    for file in files:
        with _reading(file):
            count += read_metadata(file).num_rows
    return count


def is_jpeg(files: list[Path]) -> bool:
    """Whether the images were compressed with loss; judged by the first."""
    from pyarrow.parquet import ParquetFile

    with _reading(files[0]):
        rows = ParquetFile(files[0]).iter_batches(1, columns=[IMAGE_COLUMN])
        start = next(rows)[IMAGE_COLUMN][0].as_py()["bytes"][:2]
    return start == b"\xff\xd8"


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
    import pyarrow.compute
    import pyarrow.parquet
    import torch

    with _reading(file):
        table = pyarrow.parquet.read_table(file, columns=[IMAGE_COLUMN, label_column])
        encoded = pyarrow.compute.struct_field(table[IMAGE_COLUMN], "bytes")
        kind = table[label_column].type
        if not pyarrow.types.is_integer(kind):
            raise TypeError(f"the column '{label_column}' holds {kind}; expected whole numbers")
        labels = torch.tensor(table[label_column].to_pylist(), dtype=torch.int64)
    images = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    for row, cell in enumerate(encoded):
        images[row] = _decode(cell.as_py(), size, file, row)
    return Images(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels)


def _decode(encoded: bytes, size: int, file: Path, row: int) -> np.ndarray:
    image = decode_rgb(io.BytesIO(encoded), f"{file}, row {row}")
    if image.shape != (size, size, 3):
        raise DataBrokenError(
            f"{file}, row {row}: the image is {image.shape[1]}x{image.shape[0]}; expected "
            f"{size}x{size}. Is this another data set?"
        )
    return image


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """A context in which whatever is wrong with the file becomes a DataBrokenError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, StopIteration, TypeError, KeyError) as error:
        raise DataBrokenError(
            f"{file}: not a readable Parquet file of images, a column '{IMAGE_COLUMN}' of structs "
            f"with 'bytes' and a column of labels ({error}). Copy or download the file again."
        ) from error
