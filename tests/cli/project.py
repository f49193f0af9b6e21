"""A user's own project with tiny suites, and the command in it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from tiny import STRATEGIES
from typer.testing import CliRunner, Result

from simo_cl.cli import app

DEAD_SERVER = "http://127.0.0.1:9"

SUITE = """\
data: {name: digits}
stream: {experiences: 2}
model: {encoder: small_cnn, width: 4, precision: float32}
training: {batch_size: 32, epochs: 0.2, threads: 1}
memory: {size: 40}
evaluation: {samples_per_class: 4}
strategies:
"""

RAISES = '''"""It cannot be built."""

from simo_cl.harness.settings import StrategySettings as Settings

SEARCH_SPACE = {"lr": [0.1, 0.2]}


def build(setup, settings):
    raise RuntimeError("no such luck")
'''

# Once, and then no more.
INTERRUPTED = RAISES.replace("raise", "raise KeyboardInterrupt if INTERRUPTS.pop() else").replace(
    "SEARCH", "INTERRUPTS = [False, True]\nSEARCH"
)

DIVERGES = '''"""Its loss is NaN as soon as it sees the classes from 5 on."""

import torch
from avalanche.training.supervised import Naive

from simo_cl.harness.settings import StrategySettings as Settings

SEARCH_SPACE = {}


class Loss(torch.nn.CrossEntropyLoss):
    def forward(self, scores, labels):
        return super().forward(scores, labels) * (torch.nan if labels.max() >= 5 else 1)


def build(setup, settings):
    arguments = setup.stock_arguments(setup.classifier(), settings.lr)
    return Naive(**arguments, criterion=Loss(), plugins=[setup.budget()])
'''

PLUGIN = """
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from simo_cl.models import register_encoder
from simo_cl.streams import DataSet, Images, register_data_source


@dataclass
class Shape:
    size: int
    more: Shape | None = None


def load(root):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    images = torch.randint(0, 256, (200, 1, 4, 4), generator=generator, dtype=torch.uint8)
    both = Images(images, labels)
    return DataSet("noise", both, both, tuple("abcdefghij"), "noise")


def flat(channels, width, norm):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, width)), width + WRONG


register_data_source("NAME_data", load, description="noise", how_to_get="It is drawn.")
register_encoder("NAME_encoder", flat)
"""


class Project:
    """A folder of a user's own with suites, strategies and results, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.suites = folder / "benchmarks"
        self.strategies = folder / "strategies"
        self.suites.mkdir(parents=True)
        self.strategies.mkdir()
        for name in ("finetune", "er", "simo"):
            shutil.copy(STRATEGIES / f"{name}.py", self.strategies)
        for name, text in (
            ("raises", RAISES),
            ("interrupted", INTERRUPTED),
            ("diverges", DIVERGES),
        ):
            (self.strategies / f"{name}.py").write_text(text)

    def suite(self, *strategies: str, name: str = "tiny") -> Path:
        path = self.suites / f"{name}.yaml"
        path.write_text(SUITE + "".join(f"  {strategy}:\n" for strategy in strategies))
        return path

    def plugin(self, name: str, wrong: int = 0) -> tuple[str, ...]:
        """Writes a plug-in file with names of its own; gives the options that use it."""
        path = self.suites.parent / f"{name}.py"
        path.write_text(PLUGIN.replace("NAME", name).replace("WRONG", str(wrong)))
        settings = (f"data.name={name}_data", f"model.encoder={name}_encoder")
        return ("--plugins", str(path), "--set", settings[0], "--set", settings[1])

    def call(self, *arguments: str | Path) -> Result:
        none = arguments[0] in ("list", "init", "data", "doctor", "check")
        results: tuple[str | Path, ...] = () if none else ("--results", self.results)
        if arguments[0] == "run" and "--jobs" not in arguments:
            # Processes import for longer than tiny runs take.
            results = (*results, "--jobs", "1")
        words = [str(word) for word in (*arguments, *results)]
        with pytest.MonkeyPatch.context() as patch:
            # On a busy machine, the process that writes to MLflow takes its time to begin.
            patch.setattr("simo_cl.tracking.follow.CLOSE_SECONDS", math.inf)
            return CliRunner().invoke(app, words, env={"COLUMNS": "200"})

    def run_folder(self, suite: str, strategy: str, seed: int = 0) -> Path:
        (folder,) = (self.results / suite / "runs" / strategy).glob(f"seed{seed}-*")
        return folder

    def state(self, suite: str, strategy: str, seed: int = 0) -> str:
        path = self.run_folder(suite, strategy, seed) / "status.json"
        return str(json.loads(path.read_text())["state"])

    def planned(self, suite: str) -> list[tuple[str, int]]:
        plan = json.loads((self.results / suite / "plan.json").read_text())
        return [(run["strategy"], run["seed"]) for run in plan["runs"]]
