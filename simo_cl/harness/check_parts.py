"""Whether a user's own strategy, data source, encoder, metric or read-out does what such a part
must: in seconds, by running it on a few images."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simo_cl.harness.checked_data import checked_data, refuse_unfit
from simo_cl.harness.execute_run import Progress, execute_run
from simo_cl.harness.execute_suite import write_plan
from simo_cl.harness.plan import PlannedRun, plan_runs
from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.settings import MemorySettings, Suite
from simo_cl.harness.shipped import shipped_folder
from simo_cl.harness.strategy_files import load_strategy
from simo_cl.harness.suite_file import Locations, SuiteError
from simo_cl.harness.trial import interrupt, made_small
from simo_cl.harness.user_files import import_problem
from simo_cl.metrics.described import METRICS, READ_OUTS
from simo_cl.models import encoder_names
from simo_cl.results import RunFolder
from simo_cl.results.history import read_history
from simo_cl.streams import DataError, DataSet, Images, data_source_names

_IMAGES_OF_A_CLASS = 6
_BATCH = 16
_STEPS = 2
_Choices = Sequence[tuple[Mapping[str, Any], DataSet | None]]
"""Settings to try a part with, and the data where no source has them."""
_PROTOCOLS: dict[str, dict[str, Any]] = {
    "batch": {"training": {"batch_size": _BATCH}},
    "online": {
        "stream": {
            "protocol": "online",
            "batch_size": _BATCH // 2,
            "replay_batch_size": _BATCH // 2,
        }
    },
}


@dataclass(frozen=True)
class Finding:
    """What was tried of a part.

    Attributes:
        part: its kind and name.
        tried: in words.
        problem: why it failed; "" if it did not.
        note: what else the user should know.
    """

    part: str
    tried: str
    problem: str = ""
    note: str = ""


def is_strategy(path: Path) -> bool:
    """Whether a file is a strategy's, and not one that registers parts: it has a
    ``build(setup, settings)`` of its own; an encoder's takes three arguments or is decorated.

    Raises:
        SuiteError: it is no Python.
    """
    try:
        top = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        raise SuiteError(f"{path} is no Python: {import_problem(error, path.parent)}") from error
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "build"
        and not node.decorator_list
        and len(node.args.posonlyargs + node.args.args) == 2
        for node in top
    )


def check_strategy(path: Path, folder: Path) -> Iterator[Finding]:
    """Has a strategy train in each protocol that it is for, and go on after an interruption.

    Args:
        path: of its file.
        folder: for its runs.

    Raises:
        SuiteError: the file is no strategy's.
    """
    part = f"strategy {path.stem}"
    file = load_strategy(path.stem, path.parent)
    yield Finding(part, "is imported")
    for protocol in file.protocols:
        with problems_of(path) as problem:
            run, data = _planned(path, Locations(path), protocol)
        yield Finding(part, f"{protocol}: takes its settings", *problem)
        if not problem:
            yield from _check_run(f"{part}, {protocol}", run, data, folder / protocol, path)
    if not file.search_space:
        return
    with problems_of(path) as problem:
        for setting, values in file.search_space.items():
            for value in values:
                file.settings({setting: value}, Locations(path))
    yield Finding(part, "takes every value of its SEARCH_SPACE", *problem)


def check_plugins(path: Path, folder: Path, data_root: Path | None) -> Iterator[Finding]:
    """Has fine-tuning train with each part that a file registers.

    Args:
        path: of the file.
        folder: for the runs, each with a suite's plan.
        data_root: where data lie.

    Raises:
        SuiteError: the file cannot be imported.
    """
    before = _parts()
    load_plugins(path)
    added = {kind: [n for n in names if n not in before[kind]] for kind, names in _parts().items()}
    yield Finding(path.name, "is imported")
    tried: list[tuple[str, _Choices]] = [
        *(
            (f"data source {name}", [({"data": {"name": name}}, None)])
            for name in added["data source"]
        ),
        *((f"encoder {name}", _of_encoder(name)) for name in added["encoder"]),
    ]
    measured = [f"{kind} {name}" for kind in ("metric", "read-out") for name in added[kind]]
    if measured or not tried:
        tried.append((", ".join(measured) or path.name, [({}, None)]))
    for number, (part, choices) in enumerate(tried):
        with problems_of(path) as problem:
            run, data = _first_that_fits(path, choices, data_root)
        if problem:
            yield Finding(part, "is built", *problem)
            continue
        which = f", for {data.name}, with width {run.settings.model.width}" if choices[1:] else ""
        yield Finding(part, f"is built{which}")
        place = folder / str(number)
        yield from _check_run(part, run, data, place, path)
        suite = Suite(name="check", strategies={"finetune": {}})
        write_plan(place / "whole", suite, [run], command="simo-cl check", data=data)
        if not choices[0][0]:
            yield from _check_measured(added, place / "whole" / run.folder)


def _parts() -> Mapping[str, list[str]]:
    return {
        "data source": data_source_names(),
        "encoder": encoder_names(),
        "metric": list(METRICS),
        "read-out": list(READ_OUTS),
    }


def _check_measured(added: Mapping[str, list[str]], folder: Path) -> Iterator[Finding]:
    """Looks whether what is measured is ever defined."""
    names = {name for measured in _measured(folder, is_finished=False) for name in measured}
    for name in added["metric"]:
        where = name if METRICS[name].family == "continual" else f"features/{name}"
        problem = "" if where in names else "was NaN or infinite after each experience"
        yield Finding(f"metric {name}", "is a finite number", problem)
    for name in added["read-out"]:
        problem = "" if f"{name}/average_accuracy" in names else "gave no accuracies"
        yield Finding(f"read-out {name}", "classifies", problem)


def _of_encoder(name: str) -> _Choices:
    """Digits, which train in a moment, and images for encoders that take no such small ones."""
    labels = torch.arange(10 * _IMAGES_OF_A_CLASS) % 10
    pixels = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=pixels)
    both = Images(images, labels)
    noise = DataSet("colour noise of 32 x 32 pixels", both, both, tuple("0123456789"), "noise")
    return [
        ({"model": {"encoder": name}}, None),
        ({"model": {"encoder": name, "width": 32}, "data": {"name": noise.name}}, noise),
    ]


def _first_that_fits(
    path: Path, choices: _Choices, data_root: Path | None
) -> tuple[PlannedRun, DataSet]:
    """Fine-tuning with the first of the settings, each with its data, that a file's part takes.

    Raises:
        SuiteError: it takes none of them; the message says why.
    """
    strategy = shipped_folder("strategies") / "finetune.py"
    reasons = []
    for more, data in choices:
        try:
            return _planned(strategy, Locations(path), "batch", more, data, data_root)
        except SuiteError as error:
            reasons.append(str(error))
    raise SuiteError("\n".join(reasons))


def _planned(
    strategy: Path,
    locations: Locations,
    protocol: str,
    more: Mapping[str, Any] | None = None,
    data: DataSet | None = None,
    data_root: Path | None = None,
) -> tuple[PlannedRun, DataSet]:
    """A run of two steps an experience, and the few images that it trains on; without data, of
    those that its settings name."""
    content: dict[str, Any] = {
        "name": "check",
        # Not every file's name may be an entry's.
        "strategies": {"checked": {"strategy": strategy.stem}},
        "stream": {"experiences": 2},
        "model": {"encoder": "small_cnn", "width": 8, "precision": "float32"},
        "training": {"threads": 1},
        "checkpoint_minutes": 0,
    }
    for section, settings in (*_PROTOCOLS[protocol].items(), *(more or {}).items()):
        content[section] = {**content.get(section, {}), **settings}
    suite = Suite.model_validate(content)
    (run,) = plan_runs(suite, strategy.parent, locations, "float32")
    if data is None:
        data = checked_data([run], data_root)
    else:
        refuse_unfit([run], data)
    memory = MemorySettings(size=4 * data.num_classes)
    run = replace(run, settings=run.settings.model_copy(update={"memory": memory}))
    return made_small(run, data, images=0, steps=_STEPS, samples=_IMAGES_OF_A_CLASS)


def _check_run(
    part: str, run: PlannedRun, data: DataSet, folder: Path, path: Path
) -> Iterator[Finding]:
    """Executes a run, and again with an interruption."""
    whole, stopped = folder / "whole" / run.folder, folder / "stopped" / run.folder
    with problems_of(path) as problem, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _execute(run, data, whole)
    yield Finding(part, "builds, trains two experiences and evaluates", *problem)
    if problem:
        return
    texts = [str(warning.message) for warning in said]
    not_finite = [text for text in texts if text.startswith("not in metrics.jsonl")]
    yield Finding(part, "gives finite numbers", "; ".join(not_finite))
    note = next((text for text in texts if "begins anew if it is interrupted" in text), "")
    with problems_of(path) as problem, warnings.catch_warnings():
        # Even those that Avalanche wants to be shown always; the first time they were kept.
        warnings.showwarning = lambda *_: None
        if not interrupt(partial(_execute, run, data, stopped)):
            raise RuntimeError("it takes no more than half of its steps")
        _execute(run, data, stopped)
        if _outcome(whole) != _outcome(stopped):
            raise RuntimeError(
                "its numbers are others than those of a run that is not interrupted; what it "
                "remembers must be in its state_dict (docs/strategies.md#interruptions)"
            )
    reason = "; ".join(problem)
    yield Finding(part, "gives the same after an interruption", reason, note)


def _execute(
    run: PlannedRun, data: DataSet, folder: Path, step: Progress = lambda taken, total: None
) -> None:
    execute_run(run, data, RunFolder(folder), torch.device("cpu"), step)


def _outcome(folder: Path) -> dict[str, Any]:
    """All results of a run but times."""
    metrics = [
        {name: value for name, value in measured.items() if not name.endswith("_seconds")}
        for measured in _measured(folder, is_finished=True)
    ]
    arrays = dict(np.load(folder / "arrays.npz"))
    return {"metrics": metrics, **{name: array.tobytes() for name, array in arrays.items()}}


def _measured(folder: Path, *, is_finished: bool) -> list[Mapping[str, float]]:
    """After each experience, as far as the run has come."""
    history, problem = read_history(folder, is_finished=is_finished)
    if problem:
        raise RuntimeError(problem)
    return [measured.metrics for measured in history]


@contextmanager
def problems_of(path: Path) -> Iterator[list[str]]:
    """What goes wrong within, in words, with the line of the user's file."""
    problems: list[str] = []
    try:
        yield problems
    except (SuiteError, DataError) as error:
        problems.append(str(error))
    except Exception as error:
        problems.append(import_problem(error, path.parent))
