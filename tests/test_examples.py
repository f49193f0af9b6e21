"""Every public name has an example in its docstring, and all examples of the library run."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_suite import write_suite
from tiny import ROOT

import simo_cl

PUBLIC_MODULES = (
    "simo_cl.losses.asymmetric_metric",
    "simo_cl.losses.asymmetric_supcon",
    "simo_cl.losses.fixed_directions",
    "simo_cl.losses.orthogonal_projection",
    "simo_cl.losses.relation_distillation",
    "simo_cl.metrics.continual",
    "simo_cl.metrics.geometry",
    "simo_cl.models",
    "simo_cl.models.fixed_direction_model",
    "simo_cl.register",
    "simo_cl.streams",
    "simo_cl.training.asymmetric_cross_entropy",
    "simo_cl.training.asymmetric_metric_learning",
    "simo_cl.training.co2l_loss",
    "simo_cl.training.distillation",
    "simo_cl.training.metric_loss",
)


def members(module: str) -> dict[str, Any]:
    found = importlib.import_module(module)
    own = [name for name in vars(found) if not name.startswith("_")]
    return {
        f"{module}.{name}": part
        for name in getattr(found, "__all__", own)
        if inspect.isroutine(part := getattr(found, name))
        or (inspect.isclass(part) and not issubclass(part, Exception))
        if part.__module__.startswith(module)
    }


PUBLIC = {
    **{name: getattr(simo_cl, name) for name in simo_cl.__all__},
    **{
        f"Results.{name}": member
        for name, member in vars(simo_cl.Results).items()
        if not name.startswith("_") and inspect.getdoc(member)
    },
    **{name: part for module in PUBLIC_MODULES for name, part in members(module).items()},
}
SOURCES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for path in sorted((ROOT / "simo_cl").rglob("*.py"))
}
WITH_EXAMPLES = [name for name, path in SOURCES.items() if ">>> " in path.read_text("utf-8")]

# What takes long, or a network, has a test of its own.
TESTED_ELSEWHERE = {
    "simo_cl.analysis.Results.write_figures": "report/test_page.py",
    "simo_cl.analysis.Results.write_report": "cli/test_report_command.py",
    "simo_cl.running.run_suite": "test_running.py",
    "simo_cl.streams.sources.fetch_data": "streams/test_cifar.py",
    "simo_cl.tracking.mlflow_logger.MLflowLogger": "tracking/test_mlflow_logger.py",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_there_is_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or "")


@pytest.fixture
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the results that examples are about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, data in (("quickstart", "digits"), ("on_other_data", "mnist")):
        folder = Path("results", name)
        write_suite(folder, strategies=("er", "simo"), seeds=(0, 1), data=data, sample=4)


@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    names = {"simo_cl": simo_cl, "torch": torch}
    names |= {public: getattr(simo_cl, public) for public in simo_cl.__all__}
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names)
    with_examples = {test.name: test for test in tests if test.examples}
    assert len(with_examples) == SOURCES[name].read_text("utf-8").count("Example:\n")
    skipped = {
        path
        for path, test in with_examples.items()
        if any(doctest.SKIP in example.options for example in test.examples)
    }
    assert skipped == TESTED_ELSEWHERE.keys() & with_examples.keys()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said: list[str] = []
    for test in with_examples.values():
        doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=said.append)
    assert not said, "".join(said)
