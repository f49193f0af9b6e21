"""Tell whether the files of a finished run are still what it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_KINDS = (".yaml", ".jsonl", ".npz", ".pt2")
_NEEDED = ("config.yaml", "metrics.jsonl", "arrays.npz")


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each result in a run's folder, by file name."""
    return {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.suffix in _KINDS}


def changed_files(folder: Path, written: Mapping[str, str]) -> list[str]:
    """Names of the files that are not what a run wrote.

    Embeddings, snapshots and model may have been deleted to save space; what every table needs may
    not.

    Args:
        folder: of a run.
        written: from :func:`checksums`.

    Raises:
        OSError: a file cannot be read.
    """
    found = []
    for name, digest in written.items():
        path = folder / Path(name).name
        if path.is_file():
            if _digest(path) != digest:
                found.append(name)
        elif name in _NEEDED:
            found.append(name)
    return found


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_once(path, status.st_size, status.st_mtime_ns)


@cache
def _digest_once(path: Path, size: int, changed: int) -> str:
    """A command looks at a suite's runs many times; this reads a file again only once changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
