"""What takes seconds and is no business of a test: drawing all figures, making a store's tables."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from simo_cl.report import page
from simo_cl.tracking import store

_TEMPLATE = "SIMO_CL_EMPTY_STORE"


def leave_out_figures(patch: pytest.MonkeyPatch) -> None:
    """Reports have none: to draw them takes ten seconds a suite, and the report's tests do."""
    patch.setattr(page, "suite_figures", lambda *_: [])


def copy_stores(patch: pytest.MonkeyPatch, template: Path) -> None:
    """A new SQLite store is a copy of an empty one, here and in processes that are forked."""
    patch.setenv(_TEMPLATE, str(template))
    _copy_stores(patch, template)


def copy_stores_as_told(patch: pytest.MonkeyPatch) -> None:
    """In a process that is forked: as the one that has it forked."""
    if template := os.environ.get(_TEMPLATE):
        _copy_stores(patch, Path(template))


def _copy_stores(patch: pytest.MonkeyPatch, template: Path) -> None:
    answering_client = store._answering_client

    def with_tables(uri: str) -> object:
        file = store._sqlite_file(uri)
        if file is not None and not file.exists():
            shutil.copy(template, file)
        return answering_client(uri)

    patch.setattr(store, "_answering_client", with_tables)
