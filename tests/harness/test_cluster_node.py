"""What a node does, without a cluster."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import planned

import simo_cl
from simo_cl.harness import cluster_node, precision
from simo_cl.harness.cluster_node import Common, execute_on_node
from simo_cl.harness.plan import PlannedRun
from simo_cl.streams import load_data

DATA = load_data("digits")
ARRAYS = [
    part.numpy()
    for part in (DATA.train.images, DATA.train.labels, DATA.test.images, DATA.test.labels)
]


@pytest.fixture
def common(tmp_path: Path) -> Common:
    names = (DATA.name, DATA.class_names, DATA.note)
    return Common(simo_cl.__version__, tmp_path, None, None, names, cuda=False)


def execute(run: PlannedRun, common: Common) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
    """What came of a run, and what was said before."""
    said: list[tuple[Any, ...]] = []
    ended = execute_on_node(pickle.dumps(run), common, ARRAYS, lambda *letter: said.append(letter))
    return ended, said


def test_a_node_with_another_version_refuses(tmp_path: Path, common: Common) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n")

    (kind, reason), _ = execute(run, replace(common, version="0.0.1"))

    assert kind == "lost"
    assert "and the command is of 0.0.1; install the same version" in reason


def test_a_node_that_does_not_see_the_folder_refuses(tmp_path: Path, common: Common) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n")

    (kind, reason), _ = execute(run, replace(common, shared=tmp_path / "nowhere"))

    assert kind == "lost"
    assert f"does not see {tmp_path}; --ray-shared needs" in reason


def test_a_precision_that_a_node_has_to_emulate_is_warned_of(
    tmp_path: Path, common: Common, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n", ("model.precision=bfloat16",))
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(cluster_node, "attempt", lambda *_: "not tried")

    _, said = execute(run, common)

    ((_, warning),) = [letter for letter in said if letter[0] == "warning"]
    assert re.match(r"er, seed 0 on \S+: model.precision is bfloat16, which this CPU", warning)
