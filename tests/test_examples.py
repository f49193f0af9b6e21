"""Every public name has an example in its docstring, and all of them run."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_suite import write_suite

import simo_cl

RESULTS = [name for name, member in vars(simo_cl.Results).items() if inspect.getdoc(member)]
PUBLIC = [
    *simo_cl.__all__,
    *(f"Results.{name}" for name in RESULTS if not name.startswith("_")),
]

# What takes long has a test of its own.
TESTED_ELSEWHERE = {
    "MLflowLogger": "tracking/test_mlflow_logger.py",
    "Results.write_figures": "report/test_page.py",
    "Results.write_report": "cli/test_report_command.py",
    "run_suite": "test_running.py",
}


def documented(name: str) -> str:
    *owner, last = name.split(".")
    found: Any = simo_cl.Results.__dict__[last] if owner else getattr(simo_cl, name)
    return inspect.getdoc(found) or ""


@pytest.fixture
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the results that examples are about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, data in (("quickstart", "digits"), ("on_other_data", "mnist")):
        folder = Path("results", name)
        write_suite(folder, strategies=("er", "simo"), seeds=(0, 1), data=data, sample=4)


@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_runs(name: str) -> None:
    names = {
        "simo_cl": simo_cl,
        "torch": torch,
        **{n: getattr(simo_cl, n) for n in simo_cl.__all__},
    }
    test = doctest.DocTestParser().get_doctest(documented(name), names, name, None, None)
    assert test.examples, f"{name} has no example"
    skipped = [example for example in test.examples if doctest.SKIP in example.options]
    assert bool(skipped) == (name in TESTED_ELSEWHERE)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=said.append)
    assert not said, "".join(said)
