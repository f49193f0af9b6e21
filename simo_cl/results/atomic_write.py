"""Write a file so that a reader, or whoever comes after a crash, never finds half of one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replaces a file, a text in UTF-8.

    Raises:
        OSError: no space, or no permission; the file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    write_partial(path, [data]).replace(path)


def write_partial(path: Path, parts: Iterable[bytes | memoryview]) -> Path:
    """Writes ``<path>.partial``, on the disk for good when this returns, to be moved to its place.

    Raises:
        OSError: no space, or no permission; nothing is left of it.
    """
    temporary = path.with_name(f"{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
