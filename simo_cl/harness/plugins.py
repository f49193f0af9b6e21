"""A user's own file of parts: data sources, encoders, metrics, read-outs and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simo_cl.harness.suite_file import Locations, SuiteError
from simo_cl.harness.user_files import UserFile
from simo_cl.registry import Addition, additions, did_you_mean

_DIGITS = 12
_registered: dict[Path, tuple[UserFile, list[Addition]]] = {}
"""What each file is whose parts are registered, and which these are."""


def refuse_unknown_part(
    locations: Locations, key: str, name: str, kind: str, names: Sequence[str]
) -> None:
    """Raises a :class:`SuiteError` where a setting names no part of its kind, as "data set"."""
    if name not in names:
        raise locations.complaint(
            key,
            f"is {name!r}, which is no {kind}; there are {', '.join(names)}."
            f"{did_you_mean(name, names)} One of your own is in the file that --plugins names.",
        )


def refuse_missing_plugins(path: Path) -> None:
    """Raises a :class:`SuiteError` where ``--plugins`` names no Python file."""
    if not path.is_file():
        raise SuiteError(f"--plugins {path}: no such file")
    if path.suffix != ".py":
        raise SuiteError(f"{path}: not a Python file; its name must end in .py")


def load_plugins(path: Path) -> UserFile:
    """Reads a file and registers its parts: see :func:`register_parts`.

    Raises:
        SuiteError: there is no such file, it cannot be imported, or it registers nothing.
    """
    refuse_missing_plugins(path)
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
        SuiteError: it cannot be imported, or registers nothing.
    """
    path = file.path.resolve()
    if path in _registered:
        before, added = _registered[path]
        if before.digest == file.digest:
            return
        del _registered[path]
        for addition in added:
            addition.undo()
        # Brought back, it is executed again.
        before.forget()
    try:
        with additions() as added:
            file.load()
    except SuiteError as error:
        raise SuiteError(f"--plugins {error}") from error
    if not added:
        raise SuiteError(
            f"--plugins {path} registers nothing; a part is registered by a decorator of "
            "simo_cl.register (docs/extending.md), and a strategy, which has a function "
            "build(setup, settings), goes into the folder of --strategies-dir (docs/strategies.md)"
        )
    _registered[path] = file, added
