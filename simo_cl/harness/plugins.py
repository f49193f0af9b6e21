"""A user's own file of data sources and encoders."""

from __future__ import annotations

from pathlib import Path

from simo_cl.harness.suite_file import SuiteError
from simo_cl.harness.user_files import digest_of, import_problem, import_sources, read_sources

_DIGITS = 12


def load_plugins(path: Path, digest: str | None = None) -> str:
    """Imports a file that registers data sources and encoders.

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
        raise SuiteError(f"--plugins {path}: not a Python file; its name must end in .py")
    try:
        sources = read_sources(path)
        found = digest_of(sources)[:_DIGITS]
        if digest not in (None, found):
            raise SuiteError(
                f"--plugins {path} was changed after the command began, or a module beside it that "
                "it imports; run it again for the changed one"
            )
        import_sources(sources, path.parent)
    except SuiteError:
        raise
    except (Exception, SystemExit) as error:
        problem = import_problem(error, path.parent)
        raise SuiteError(f"--plugins {path} cannot be imported: {problem}") from error
    return found
