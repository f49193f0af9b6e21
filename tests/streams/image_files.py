"""Small files in the layouts that the data sources read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def random_images(count: int, *, size: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size, channels)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def encode(image: np.ndarray, image_format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, image_format)
    return stream.getvalue()


def write_parquet(
    file: Path,
    images: np.ndarray,
    labels: list[int] | list[float],
    *,
    label_column: str = "label",
    image_format: str = "PNG",
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": encode(image, image_format), "path": "x"} for image in images]
    pq.write_table(pa.table({"img": cells, label_column: labels}), file)


def write_idx(file: Path, values: np.ndarray) -> None:
    """MNIST's format: a magic number, the dimensions, the bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
    file.write_bytes(header + values.astype(np.uint8).tobytes())
