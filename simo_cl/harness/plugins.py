"""A user's own file of data sources and encoders."""

from __future__ import annotations

from pathlib import Path

from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import import_problem, import_sources, read_sources


def load_plugins(path: Path) -> None:
    """Imports a file that registers data sources and encoders.

    Raises:
        SuiteError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise SuiteError(f"--plugins {path}: no such file")
    if path.suffix != ".py":
        raise SuiteError(f"--plugins {path}: not a Python file; its name must end in .py")
    try:
        import_sources(read_sources(path), path.parent)
    except (Exception, SystemExit) as error:
        problem = import_problem(error, path.parent)
        raise SuiteError(f"--plugins {path} cannot be imported: {problem}") from error
