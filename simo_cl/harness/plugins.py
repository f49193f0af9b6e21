"""A user's own file of parts: data sources, encoders, metrics, read-outs and figures."""

from __future__ import annotations

from pathlib import Path

from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import UserFile
from simo_cl.registry import Addition, additions

_DIGITS = 12
_loaded: dict[Path, str] = {}
"""Digest of each file whose parts are registered."""
_added_by: dict[tuple[Path, str], list[Addition]] = {}
"""What each version of a file has registered: its modules are executed once."""


def load_plugins(path: Path) -> UserFile:
    """Reads a file and registers its parts: see :func:`register_parts`.

    Raises:
        SuiteError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise SuiteError(f"--plugins {path}: no such file")
    if path.suffix != ".py":
        raise SuiteError(f"{path}: not a Python file; its name must end in .py")
    file = UserFile.read(path)
    register_parts(file)
    return file


def digest_of_plugins(file: UserFile | None) -> str:
    """What the settings of a run say of the file and of the modules beside it that it imports."""
    return "none" if file is None else file.digest[:_DIGITS]


def register_parts(file: UserFile) -> None:
    """Imports a file that registers parts; those of an earlier version of it are taken away, and
    so are those of a file that fails.

    Raises:
        SuiteError: it cannot be imported.
    """
    path, digest = file.path.resolve(), file.digest
    if _loaded.get(path) == digest:
        return
    if path in _loaded:
        for addition in _added_by[path, _loaded.pop(path)]:
            addition.undo()
    try:
        with additions() as added:
            file.load()
            for addition in _added_by.get((path, digest), ()):
                addition.repeat()
    except SuiteError as error:
        raise SuiteError(f"--plugins {error}") from error
    except ValueError as error:
        raise SuiteError(f"--plugins {file.path}: {error}") from error
    _loaded[path], _added_by[path, digest] = digest, added
