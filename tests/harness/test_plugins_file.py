from __future__ import annotations

from pathlib import Path

import pytest

from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.suite_file import SuiteError
from simo_cl.metrics.described import METRICS

SPREAD = """
from simo_cl import register

import _beside


@register.metric("spread", of="embeddings", meaning="MEANING", unit="0..")
def spread(points, labels):
    return points.std()
"""
BESIDE = """
from simo_cl import register

register.read_out("first", meaning="First.", fitted_on="oracle")(lambda x, y, z: y)
"""


def written(folder: Path, meaning: str, more: str = "") -> Path:
    (folder / "_beside.py").write_text(BESIDE)
    (folder / "mine.py").write_text(SPREAD.replace("MEANING", meaning) + more)
    return folder / "mine.py"


def test_a_changed_file_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    digests = []
    for meaning in ("One.", "Two.", "Two.", "One."):
        digests.append(load_plugins(written(tmp_path, meaning)))
        assert METRICS["spread"].meaning == meaning

    assert digests[0] == digests[3] != digests[1] == digests[2]


def test_a_part_that_is_no_longer_in_the_file_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path, "One.")
    load_plugins(path)
    path.write_text("import _beside\n")
    load_plugins(path)

    assert "spread" not in METRICS


def test_a_file_that_failed_half_way_is_loaded_once_it_is_mended(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    needs_data = f"open({str(data)!r}).close()\n"
    path = written(tmp_path, "One.", needs_data)
    for _ in range(2):
        with pytest.raises(SuiteError, match=r"cannot be imported: FileNotFoundError"):
            load_plugins(path)
        assert "spread" not in METRICS

    data.touch()
    load_plugins(path)
    assert METRICS["spread"].meaning == "One."
    load_plugins(written(tmp_path, "Two."))
    assert METRICS["spread"].meaning == "Two."


def test_a_file_that_registers_nothing_is_refused_each_time(tmp_path: Path) -> None:
    path = tmp_path / "strategy.py"
    path.write_text("def build(setup, settings):\n    pass\n")

    for _ in range(2):
        with pytest.raises(SuiteError, match=r"strategy.py registers nothing; .*--strategies-dir"):
            load_plugins(path)


def test_two_files_cannot_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    load_plugins(written(tmp_path, "One."))

    with pytest.raises(SuiteError, match="there is a read-out 'first' already"):
        load_plugins(written(tmp_path / "other", "Two."))
    assert METRICS["spread"].meaning == "One."
