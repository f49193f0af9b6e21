"""Avalanche's own settings file, whole before any of several processes reads it."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path


def write_avalanche_settings() -> None:
    """Writes what Avalanche 0.6 writes when it is first imported, ``~/.avalanche/config.json``.

    Avalanche opens the file and fills it afterwards: another process that imports it at that moment
    reads an empty one and fails, and so does every later one if the first is killed then. A file
    with something in it is left alone. Where none can be written Avalanche cannot either, and says
    so when it is imported.
    """
    # An account without a home folder, as a container may have, is a RuntimeError.
    with suppress(OSError, RuntimeError):
        folder = Path("~/.avalanche").expanduser()
        settings = folder / "config.json"
        if settings.exists() and settings.stat().st_size:
            return
        folder.mkdir(parents=True, exist_ok=True)
        # Of a name that no other process, on whatever machine, has.
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            json.dump({"dataset_location": str(folder / "data")}, file, indent=4)
        Path(file.name).replace(settings)
