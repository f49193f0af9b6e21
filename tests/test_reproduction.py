"""The reproduction of published results: every recipe trains, and the table says what it found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from simo_cl.models import build_encoder
from simo_cl.streams import DataSet, Images

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "published" / "reproduction.py"


@pytest.fixture(scope="module")
def reproduction() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reproduction", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduction"] = module  # where its data classes look for their annotations
    spec.loader.exec_module(module)
    # Narrow, and in a precision that every CPU computes in hardware.
    module.slim_resnet18 = lambda: build_encoder("slim_resnet18", width=8, precision="float32")
    return module


def plain_colours(per_class: int) -> Images:
    """Images of ten colours, one a class."""
    levels = torch.rand(10, 3, 1, 1, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    pixels = levels.expand(10, 3, 32, 32).repeat_interleave(per_class, dim=0)
    return Images(pixels, torch.arange(10).repeat_interleave(per_class))


@pytest.mark.parametrize(
    ("name", "experiences", "batches"),
    # Of 22 images in each of five experiences, all but ER-AML and SCR hold out two. Our ER-AML has
    # batches of 20, all new in the first experience and half of them later.
    [
        ("online replay", 10, 10),
        ("MIR", 10, 10),
        ("ER-ACE", 5, 10),
        ("ER-AML", 5, 10),
        ("ER-AML of the paper", 5, 9),
        ("SCR", 15, 15),
    ],
)
def test_a_recipe_trains_and_is_evaluated(
    reproduction: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    experiences: int,
    batches: int,
) -> None:
    names = tuple(map(str, range(10)))
    data = DataSet("colours", plain_colours(11), plain_colours(2), names, "colours")
    trained = []
    evaluate = reproduction.average_accuracy
    class_means = reproduction.SCR.compute_class_means

    def in_evaluation_mode(strategy: Any) -> None:
        assert not strategy.model.training
        class_means(strategy)

    monkeypatch.setattr(reproduction.SCR, "compute_class_means", in_evaluation_mode)

    def average_accuracy(strategy: Any, benchmark: Any) -> float:
        trained.append(strategy)
        return evaluate(strategy, benchmark)

    monkeypatch.setattr(reproduction, "average_accuracy", average_accuracy)
    measured = reproduction.execute(reproduction.RECIPES[name], data, seed=0)
    (strategy,) = trained
    assert strategy.clock.train_exp_counter == experiences
    assert strategy.clock.train_iterations == batches
    assert 0 <= measured["average_accuracy"] <= 1
    assert all(torch.isfinite(p).all() for p in strategy.model.parameters())


def test_the_table_is_written_again_from_the_finished_runs(
    reproduction: ModuleType, tmp_path: Path
) -> None:
    accuracies = {"SCR": [0.36, 0.40, 0.32], "MIR": [0.41]}
    runs = [
        {"strategy": name, "seed": seed, "average_accuracy": accuracy}
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    pd.DataFrame(runs).to_csv(tmp_path / "runs.csv", index=False)
    app = reproduction.typer.Typer()
    app.command()(reproduction.main)
    result = CliRunner().invoke(app, ["--only-table", "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output

    table = pd.read_csv(tmp_path / "table.csv").set_index("strategy")
    assert list(table.index) == ["MIR", "SCR"]
    assert table["ours"].to_dict() == {"MIR": 0.41, "SCR": 0.36}
    assert table["deviation"].to_dict() == {"MIR": -0.05, "SCR": 0.0}
    assert table["within bound"].to_dict() == {"MIR": "no", "SCR": "yes"}
    assert table.loc["SCR", "std"] == 0.04
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("| strategy | setting | source | target | ours |")
    assert lines[3].endswith("| 0.36 | 0.360 | 0.040 | 3 | +0.000 | yes |")


def test_without_a_finished_run_there_is_no_table(reproduction: ModuleType, tmp_path: Path) -> None:
    app = reproduction.typer.Typer()
    app.command()(reproduction.main)
    result = CliRunner().invoke(app, ["--only-table", "--results", str(tmp_path)])
    assert result.exit_code == 2
    assert "--only-table" in result.output
    assert list(tmp_path.iterdir()) == []
