"""What `run` says of the precision that it computes in."""

from __future__ import annotations

import pytest
from project import Project

from simo_cl.harness import precision

SAYS = "Warning: model.precision is bfloat16, which this CPU's convolutions"


def dry_run(project: Project, chosen: str, *more: str) -> str:
    setting = f"model.precision={chosen}"
    result = project.call("run", project.suite("er"), "--dry-run", "--set", setting, *more)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("has", "stands_for"), [(True, "bfloat16"), (False, "float32")])
def test_a_dry_run_shows_what_auto_stands_for(
    project: Project, monkeypatch: pytest.MonkeyPatch, has: bool, stands_for: str
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: has)
    output = dry_run(project, "auto", "--device", "cpu")
    (line,) = [line for line in output.splitlines() if "er, seed 0" in line]
    assert f" {stands_for} " in line
    assert SAYS not in output


def test_bfloat16_is_obeyed_after_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    output = dry_run(project, "bfloat16", "--device", "cpu")
    assert SAYS in output
    assert " bfloat16 " in output.partition(SAYS)[2]


@pytest.mark.parametrize(("gpus", "stands_for"), [("0.5", "bfloat16"), ("0", "float32")])
def test_on_a_cluster_it_is_that_of_what_runs_reserve(
    project: Project, monkeypatch: pytest.MonkeyPatch, gpus: str, stands_for: str
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    output = dry_run(project, "auto", "--ray", "auto", "--set", f"resources.gpus={gpus}")
    (line,) = [line for line in output.splitlines() if "er, seed 0" in line]
    assert f" {stands_for} " in line


def test_what_is_no_precision_is_refused(project: Project) -> None:
    result = project.call("run", project.suite("er"), "--set", "model.precision=float16")
    assert result.exit_code == 2
    assert "model.precision is 'float16'; allowed: 'auto', 'float32' or 'bfloat16'" in result.output
