"""A user's own file of parts: data sources, encoders, metrics, read-outs and figures."""

from __future__ import annotations

from pathlib import Path

from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import (
    Sources,
    digest_of,
    import_problem,
    import_sources,
    read_sources,
)
from simo_cl.registry import Addition, additions

_DIGITS = 12
_loaded: dict[Path, str] = {}
"""Digest of each file whose parts are registered."""
_added_by: dict[tuple[Path, str], list[Addition]] = {}
"""What each version of a file has registered: its modules are executed once."""


def load_plugins(path: Path, digest: str | None = None) -> str:
    """Imports a file that registers parts; those of an earlier version of it are taken away, and
    so are those of a file that fails.

    Args:
        path: of the file.
        digest: that it must have, in another process.

    Returns:
        Digest of the file and of the modules beside it that it imports.

    Raises:
        SuiteError: there is no such file, it cannot be imported, or has another content.
    """
    if not path.is_file():
        raise SuiteError(f"--plugins {path}: no such file")
    if path.suffix != ".py":
        raise SuiteError(f"{path}: not a Python file; its name must end in .py")
    try:
        sources = read_sources(path)
        found = digest_of(sources)[:_DIGITS]
        if digest not in (None, found):
            raise SuiteError(
                f"--plugins {path} was changed after the command began, or a module beside it that "
                "it imports; run it again for the changed one"
            )
        _register(path.resolve(), found, sources)
    except SuiteError:
        raise
    except (Exception, SystemExit) as error:
        problem = import_problem(error, path.parent)
        raise SuiteError(f"--plugins {path} cannot be imported: {problem}") from error
    return found


def _register(path: Path, digest: str, sources: Sources) -> None:
    if _loaded.get(path) == digest:
        return
    if path in _loaded:
        for addition in _added_by[path, _loaded.pop(path)]:
            addition.undo()
    with additions() as added:
        import_sources(sources, path.parent)
        for addition in _added_by.get((path, digest), ()):
            addition.repeat()
    _loaded[path], _added_by[path, digest] = digest, added
