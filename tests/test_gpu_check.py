"""The check of a GPU runs: each part on the CPU in a small form, and all of them whatever fails."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu_check


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return gpu_check.arguments(["--device", "cpu", "--quick", "--out", str(tmp_path)])


@pytest.fixture(autouse=True)
def _in_float32_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("simo_cl.harness.precision.cpu_has_bfloat16", lambda: False)
    yield
    torch.set_num_threads(1)


def test_the_suite_runs_in_both_protocols(options) -> None:
    found = gpu_check.suite(options)
    assert found.problems == []
    ran = {(row["protocol"], row["strategy"]) for row in found.rows}
    assert ran == {("batch", "simo"), ("online", "simo")}
    assert all(0 < row["average_accuracy"] <= 1 for row in found.rows)


def test_a_run_that_fails_is_a_problem(options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "SUITE", gpu_check.SUITE.replace("size: 40", "size: 1"))
    monkeypatch.setattr(gpu_check, "FEW", ("er_balanced",))
    (problem,) = gpu_check.suite(options).problems
    assert problem.startswith("er_balanced, batch: ValueError: memory_size is 1")


def test_the_same_run_twice_is_the_same(options) -> None:
    found = gpu_check.determinism(options)
    assert found.problems == []
    assert found.rows == [{"strategy": "simo", "differing": []}]


def test_a_run_that_is_not_the_same_is_a_problem(options, monkeypatch) -> None:
    monkeypatch.setattr(gpu_check, "_run", lambda *_: ("", {}))
    monkeypatch.setattr(gpu_check, "_differing", lambda *_: ["embeddings/test"])
    assert gpu_check.determinism(options).problems == [
        "simo: twice the same run differs in embeddings/test",
    ]


def test_no_array_and_one_that_is_missing_are_differences(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (nothing,) = gpu_check._differing(first, second)
    assert "neither has written" in nothing
    np.savez(first / "arrays.npz", a=np.ones(2), b=np.ones(2))
    np.savez(second / "arrays.npz", a=np.ones(2), b=np.zeros(2), c=np.ones(2))
    assert gpu_check._differing(first, second) == ["arrays/b", "arrays/c"]


def test_the_loss_is_timed_beside_its_peers(options) -> None:
    found = gpu_check.loss(options)
    assert found.problems == []
    assert {row["contestant"] for row in found.rows} == {"SimO pairwise", "SupCon", "SCR"}
    assert all(row["ms"] > 0 for row in found.rows)


def test_another_gradient_is_a_problem() -> None:
    x, y = torch.randn(8, 4, requires_grad=True), torch.arange(8) % 2
    right, wrong = (lambda x, _, k=k: k * x.square().sum() for k in (1.0, 1.01))
    assert gpu_check._disagreement(8, right, right, x, y) == []
    assert gpu_check._disagreement(8, right, wrong, x, y) == [
        "Triton, N = 8: the gradient is off by 1.0e-02"
    ]


def test_compilation(options) -> None:
    found = gpu_check.compile_(options)
    assert found.problems == []
    assert [row["what"] for row in found.rows] == ["encoder", "SimO"]


def test_each_part_has_its_turn_whatever_becomes_of_the_others(
    options, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = json.dumps({"problems": ["a | b"], "rows": [{"n": 130, "ms": 0.5}, {"n": 1024}]})
    does = {
        "tests": "raise SystemExit('no such luck')",
        "suite": "import time; time.sleep(60)",
        "loss": f"open({str(options.out / 'loss.json')!r}, 'w').write({finding!r})",
        "compile": f"open({str(options.out / 'compile.json')!r}, 'w')"
        """.write('{"problems": [], "rows": []}')""",
    }
    command = lambda name, options: [sys.executable, "-c", does[name]]  # noqa: E731
    monkeypatch.setattr(gpu_check, "command_of", command)
    limits = {name: (gpu_check.PARTS[name][0], 0.2 if name == "suite" else 600.0) for name in does}
    monkeypatch.setattr(gpu_check, "PARTS", limits)
    results = [gpu_check.result_of(name, options) for name in does]
    gpu_check.write(results, options)

    page = (options.out / "check.md").read_text(encoding="utf-8")
    for part, wrong in (
        ("tests", "it failed: no such luck"),
        ("suite", "it took more than 2 s and was ended"),
        ("loss", "a \\| b"),
        ("compile", "nothing"),
    ):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {part} |")]
        assert row.endswith(f"| {wrong} |")
    assert "| n | ms |\n| --- | --- |\n| 130 | 0.5 |\n| 1024 |  |" in page


def test_all_parts_take_at_most_five_minutes() -> None:
    assert sum(limit for _, limit in gpu_check.PARTS.values()) <= 300


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.arguments(["--device", "cuda:99"])
    assert "--device: device 'cuda:99' cannot be used here" in capsys.readouterr().err
