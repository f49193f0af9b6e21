"""A suite's folder may come from a stranger: nothing in it may lead out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from simo_cl.results.schema import ResultsError


class OutsideError(ResultsError):
    """A path in a suite's folder leads out of it."""


def run_path(suite_folder: Path, entry: str) -> Path:
    """Where a plan says that a run's folder is.

    Args:
        suite_folder: with the plan.
        entry: relative to it.

    Raises:
        OutsideError: it is not in that folder.
    """
    # By name alone: what links there are, :func:`refuse_links` looks for.
    inside = Path(os.path.normpath(suite_folder))
    path = Path(os.path.normpath(suite_folder / entry))
    if path == inside or not path.is_relative_to(inside):
        raise OutsideError(
            f"{suite_folder / 'plan.json'} names the run folder {entry!r}, which is not inside "
            f"{suite_folder}; the plan was damaged, or made to mislead. Running the suite again "
            "writes it anew"
        )
    return path


def refuse_links(folder: Path) -> None:
    """Looks through a suite's folder before anything in it is read or written.

    Raises:
        OutsideError: a link leads out of it.
    """
    inside = folder.resolve()
    for link in _links(folder):
        # Path.resolve() fails at a link to itself, through which nothing can be read.
        target = Path(os.path.realpath(link))
        if not target.is_relative_to(inside):
            raise OutsideError(
                f"{link} is a link to {target}, which is outside {folder}. Nothing is read or "
                "written through it; delete it. (The suite's folder as a whole may be a link.)"
            )


def _links(folder: Path | str) -> Iterator[Path]:
    # Another command may be writing: what has gone meanwhile leads nowhere.
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _links(entry.path)
