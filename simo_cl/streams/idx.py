"""MNIST's file format, IDX: arrays of bytes, plain or packed by gzip."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

_UNSIGNED_BYTES = 0x08


def read_idx(file: Path) -> np.ndarray:
    """The file's array of uint8; it is unpacked where its name ends in .gz.

    Raises:
        ValueError: it is not whole, or of another format or type.
        OSError: it cannot be read.
    """
    content = _content(file)
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise ValueError("it does not begin as an IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError("it ends within its header")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    expected = int(np.prod(shape, dtype=np.int64))
    if len(values) != expected:
        raise ValueError(f"it holds {len(values):,} values, where its header says {expected:,}")
    return values.reshape(shape)


def _content(file: Path) -> bytearray:
    content = file.read_bytes()
    if file.suffix != ".gz":
        return bytearray(content)
    try:
        return bytearray(gzip.decompress(content))
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error
