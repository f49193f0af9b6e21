"""A golden run: whoever moves the numbers of a run learns that old runs must not stand beside new.

Plain SGD and a few steps: with instructions of other processors, these numbers move by 2e-6.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ONLINE, part_of_digits, planned

from simo_cl.harness.execute_run import execute_run
from simo_cl.harness.settings import NUMERICS
from simo_cl.results import RunFolder

GOLDEN = Path(__file__).with_name("golden_run.json")
STRATEGIES = "strategies: {simo: {lr: 0.1}, er: {lr: 0.1}}\n"
OVERRIDES = (
    "model.width=8",
    "training.optimizer=sgd",
    "training.momentum=0",
    "evaluation.samples_per_class=10",
    "memory.size=60",
)
COUNTED = ("average_accuracy", "forgetting", "forward_transfer", "knn_purity")
"""By images or neighbours, of which a last digit may move one."""


def kept(metrics: dict[str, float]) -> dict[str, float]:
    """Of each kind of metric, some."""
    names = ("train/loss", "cost/steps", "cost/images", "forgetting", "forward_transfer")
    return {
        name: float(f"{value:.7g}")
        for name, value in metrics.items()
        if name in names or name.startswith("features/") or name.endswith("average_accuracy")
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("golden")
    runs = [
        *planned(folder, STRATEGIES, (*OVERRIDES, "training.epochs=0.4")),
        *planned(folder, STRATEGIES, OVERRIDES, settings=ONLINE),
    ]
    metrics = {}
    for run in runs:
        run_folder = RunFolder(folder / run.folder)
        execute_run(run, part_of_digits(), run_folder, torch.device("cpu"), lambda *step: None)
        name = f"{run.settings.stream.protocol} {run.label}"
        metrics[name] = kept(run_folder.last_metrics())
    return {"numerics": NUMERICS, "metrics": metrics}


def test_the_numbers_of_a_run_move_with_numerics_alone(
    found: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    moved = [
        f"{run}: {name} is {now}, was {value}"
        for run, before in golden["metrics"].items()
        for name, value in before.items()
        if not math.isclose(
            now := found["metrics"][run].get(name, math.nan),
            value,
            rel_tol=1e-4,
            abs_tol=0.02 if name.endswith(COUNTED) else 1e-5,
        )
    ]
    if not moved and golden["numerics"] == NUMERICS:
        return
    place = tmp_path_factory.getbasetemp() / GOLDEN.name
    place.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    pytest.fail(
        "\n".join(moved[:10]) + "\nThe numbers of a run are not those of the golden run, which was "
        f"written with NUMERICS {golden['numerics']}. If nothing was to move them, something did. "
        "If something was, runs from before and after must not share a mean: set NUMERICS in "
        f"simo_cl/harness/settings.py to {golden['numerics'] + 1} and copy {place} to {GOLDEN}"
    )
