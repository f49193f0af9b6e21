"""A suite that trains in seconds, for tests to vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simo_cl.harness.plan import PlannedRun, plan_runs
from simo_cl.harness.suite_file import read_suite
from simo_cl.streams import DataSet, Images, load_data

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ROOT / "strategies"
SHIPPED = sorted(path.stem for path in STRATEGIES.glob("*.py"))
JOINT_CONTRASTIVE = ["joint_simo", "joint_supcon", "joint_triplet"]
FOR_BATCHES = [name for name in SHIPPED if name != "mir"] + JOINT_CONTRASTIVE
FOR_ONLINE = [name for name in SHIPPED if name != "icarl"] + JOINT_CONTRASTIVE

SETTINGS = """\
data: {name: digits}
stream: {experiences: 2}
model: {encoder: small_cnn, width: 4, precision: float32}
training:
  batch_size: 32
  epochs: 0.2
  augment: [crop, flip]
  threads: 1
memory: {size: 40}
evaluation: {samples_per_class: 4}
"""


ONLINE = """\
data: {name: digits}
stream: {protocol: online, experiences: 2, batch_size: 20, replay_batch_size: 12}
model: {encoder: small_cnn, width: 4, precision: float32}
training: {optimizer: sgd, momentum: 0, threads: 1}
memory: {size: 40}
evaluation: {samples_per_class: 4}
"""


class Interrupted(BaseException):
    """As an interrupt is, no Exception."""


def entries(*names: str, given: str = "") -> str:
    """A suite's strategies, with the settings given or the defaults.

    `joint_simo` is `simo` on all classes at once.
    """
    settings = {
        name: f"{{strategy: {name.removeprefix('joint_')}, joint: true}}"
        for name in JOINT_CONTRASTIVE
    }
    return (
        f"strategies: {{{', '.join(f'{name}: {settings.get(name, given)}' for name in names)}}}\n"
    )


def write_suite(folder: Path, text: str, name: str = "tiny.yaml") -> Path:
    """A suite file with that text, in a folder made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def planned(
    folder: Path,
    more: str,
    overrides: tuple[str, ...] = (),
    strategies: Path = STRATEGIES,
    settings: str = SETTINGS,
    plugins: str = "none",
) -> list[PlannedRun]:
    """The runs of the tiny suite with more text at its end."""
    file = read_suite(write_suite(folder, settings + more), overrides)
    return plan_runs(file.suite, strategies, file.locations, "float32", plugins)


def part_of_digits() -> DataSet:
    """A third of the digits, which trains in a second."""
    digits = load_data("digits")
    rows = torch.arange(len(digits.train)) % 3 == 0
    train = Images(digits.train.images[rows], digits.train.labels[rows])
    return DataSet("digits", train, digits.test, digits.class_names, "part of digits")


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a run's folder holds of its results, but times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [
        {name: value for name, value in line["metrics"].items() if not name.endswith("_seconds")}
        for line in lines
    ]
    arrays = {
        f"{path.stem}/{name}": array.tobytes()
        for path in sorted(folder.glob("*.npz"))
        for name, array in np.load(path).items()
    }
    return {"metrics": json.dumps(metrics), **arrays}
