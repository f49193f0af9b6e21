from __future__ import annotations

from pathlib import Path

import pytest

from simo_cl.results.checksums import changed_files, checksums


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("config.yaml", "metrics.jsonl", "arrays.npz", "model.pt2", "log.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_results_have_one_and_what_may_grow_has_none(run: Path) -> None:
    assert set(checksums(run)) == {"config.yaml", "metrics.jsonl", "arrays.npz", "model.pt2"}


def test_a_changed_file_is_named(run: Path) -> None:
    written = checksums(run)
    assert changed_files(run, written) == []
    (run / "log.txt").write_text("more")
    (run / "arrays.npz").write_text("other")
    assert changed_files(run, written) == ["arrays.npz"]


def test_what_no_table_needs_may_be_deleted(run: Path) -> None:
    written = checksums(run)
    (run / "model.pt2").unlink()
    (run / "config.yaml").unlink()
    assert changed_files(run, written) == ["config.yaml"]


def test_a_name_that_leads_out_of_the_folder_is_looked_for_inside(run: Path) -> None:
    assert changed_files(run, {"../../etc/config.yaml": "0"}) == ["../../etc/config.yaml"]
