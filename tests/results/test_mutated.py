"""Whatever happens to a file of a suite's folder, it is told in words: never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_suite import write_suite

from simo_cl.harness.earlier_results import listed_in_plan
from simo_cl.report.leaderboard import comparison_table
from simo_cl.report.statistics import compare_with_control
from simo_cl.report.tables import write_tables
from simo_cl.results import (
    ResultsError,
    RunFolder,
    load_suite,
    read_suite,
)
from simo_cl.tracking import description
from simo_cl.tracking.content import started_runs

FILES = (
    "plan.json",
    "status.json",
    "metrics.jsonl",
    "config.yaml",
    "arrays.npz",
    "embeddings.npz",
    "snapshots.npz",
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies with two seeds each; the first seed has checksums, a stranger's may not."""
    folder = write_suite(
        tmp_path_factory.mktemp("whole") / "split_synthetic",
        strategies=("er", "simo"),
        seeds=(0, 1),
        experiences=2,
        classes=4,
        sample=2,
    )
    for run in folder.glob("runs/*/seed0-*"):
        RunFolder(run).finish()
    return folder


def mutate(path: Path, draw: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    at = draw.draw(st.integers(0, len(content) - 1), "at")
    kind = draw.draw(st.sampled_from(("cut", "flip", "drop", "insert", "swap")), "kind")
    if kind == "cut":
        del content[at:]
    elif kind == "flip":
        content[at] ^= 1 << draw.draw(st.integers(0, 7), "bit")
    elif kind == "drop":
        del content[at : at + draw.draw(st.integers(1, 20), "bytes")]
    elif kind == "insert":
        content[at:at] = draw.draw(st.binary(min_size=1, max_size=8), "bytes")
    else:
        content[at : at + 1] = draw.draw(st.sampled_from([b"0", b"-", b"[", b"{", b'"', b"\n"]))
    path.write_bytes(content)


def read_all(folder: Path) -> None:
    """What the commands read before they draw or send anything."""
    for path in folder.glob("runs/*/*"):
        assert RunFolder(path).state in ("finished", "running", "failed", "missing", "broken")
    listed_in_plan(folder)
    problems: list[str] = []
    shown = read_suite(folder)
    started_runs(shown, problems)
    description.of_a_suite(shown)
    loaded = load_suite(folder)
    comparison_table(loaded)
    write_tables(loaded, compare_with_control(loaded))
    for run in loaded.runs:
        assert run.state == "finished" or run.problem
        assert isinstance(run.unusable, str)
        run.embedding_sample("test_features")
        run.snapshot_sample("features")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data(), name=st.sampled_from(FILES), seed=st.sampled_from((0, 1)))
def test_a_mutated_file_is_told_in_words(
    draw: st.DataObject, name: str, seed: int, suite: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "suite"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(suite, folder)
    (run,) = folder.glob(f"runs/simo/seed{seed}-*")
    mutate(folder / name if name == "plan.json" else run / name, draw)
    try:
        read_all(folder)
    except ResultsError as error:
        said = str(error)
        assert name in ("plan.json", "status.json")
        assert name in said
