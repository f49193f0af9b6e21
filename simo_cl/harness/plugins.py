"""A user's own file of data sources and encoders."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from simo_cl.harness.strategy_files import import_problem
from simo_cl.harness.suite_file import SuiteError


def load_plugins(path: Path) -> None:
    """Imports a file that registers data sources and encoders.

    Raises:
        SuiteError: there is no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise SuiteError(f"--plugins {path}: no such file")
    spec = importlib.util.spec_from_file_location(f"simo_cl_plugins_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SuiteError(f"--plugins {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # Data classes and pickles look for the module of a class here.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SuiteError(f"--plugins {path} cannot be imported: {import_problem(error)}") from error
