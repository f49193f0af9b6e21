"""The arrays of a run's folder, which may come from a stranger or be damaged."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simo_cl.results.atomic_write import write_atomically

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path) -> Arrays:
    """All arrays of an ``.npz`` file; no code in it is run.

    Raises:
        ValueError: it is absent, torn, or holds anything but arrays.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path.name} is absent or torn")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:
        # zipfile, zlib and NumPy raise a dozen kinds for a file that is not what was written.
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Replaces an ``.npz`` file.

    Raises:
        OSError: no space, or no permission; the file is as it was.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())
