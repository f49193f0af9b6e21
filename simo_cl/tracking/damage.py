"""Tell a damaged SQLite file, and set it aside."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path

# SQLite's own files beside a database; one left behind would be applied to the next of its name.
COMPANIONS = ("-journal", "-wal", "-shm")
_SECONDS_TO_WAIT = 30.0


def damage(file: Path) -> str | None:
    """What is wrong with an SQLite file; None for a sound one, an empty one, or none at all.

    Raises:
        OSError: the file cannot be read, or others have been writing to it for half a minute.
    """
    if not file.is_file():
        return None
    try:
        connection = sqlite3.connect(file, timeout=_SECONDS_TO_WAIT)
        with contextlib.closing(connection):
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        raise OSError(f"{file} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else found


def set_aside(file: Path) -> Path:
    """Renames a file, with its companions, to the first free ``<name>.damaged-<n>``."""
    numbered = (file.with_name(f"{file.name}.damaged-{n}") for n in itertools.count(1))
    place = next(path for path in numbered if not path.exists())
    # The database last: what is left of an interrupted renaming is still a damaged database.
    for ending in COMPANIONS:
        companion = file.with_name(file.name + ending)
        if companion.exists():
            companion.replace(place.with_name(place.name + ending))
    file.replace(place)
    return place
