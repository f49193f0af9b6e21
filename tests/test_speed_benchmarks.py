"""The speed benchmarks run and write what they say; how fast anything is, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

STREAMS = Path(__file__).parents[1] / "benchmarks" / "speed" / "streams.py"


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STREAMS), "--threads", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_streams_are_compared_in_every_section(tmp_path: Path) -> None:
    finished = _run("--quick", "--out", str(tmp_path))
    assert finished.returncode == 0, finished.stderr

    report = json.loads((tmp_path / "streams.json").read_text(encoding="utf-8"))
    assert report["environment"]["data"] == "random images, 150 a class"
    compared = {(row["section"], row["network"]) for row in report["rows"]}
    sections = ("online", "contrastive", "strategies", "batch")
    networks = ("empty", "slim ResNet-18")
    assert compared == {(section, network) for section in sections for network in networks}
    for row in report["rows"]:
        assert row["ms"] > 0
        assert len(row["turns"]) == 1
        if row["contestant"].startswith("bare loop"):
            assert row["of_bare"] == 1
        if row["contestant"] == "stock Avalanche":
            assert row["times_stock"] == 1
    online = [row["contestant"] for row in report["rows"] if row["section"] == "online"]
    assert set(online) == {
        "stock Avalanche",
        "stock Avalanche, our network",
        "stock strategy, our data",
        "ours, split_online_stream",
        "ours, one call an experience",
        "bare loop",
    }
    # 30 batches of the stream, in windows of 10.
    assert {len(ms) for ms in report["course"]["ms"].values()} == {3}
    assert set(report["evaluation"]["seconds"]) == {
        "training",
        "accuracy on the test images alone",
        "all metrics on top",
        "MLflow",
    }

    page = (tmp_path / "streams.md").read_text(encoding="utf-8")
    for row in report["rows"]:
        assert f"| {row['contestant']} | {row['ms']:.3g} |" in page
    assert ElementTree.parse(tmp_path / "streams.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--only", "onlin"), "--only: ['onlin'] are not among"),
        (("--rounds", "10"), "--rounds is 10; it must be from 1 to 9"),
    ],
)
def test_a_wrong_option_is_refused(options: tuple[str, str], complaint: str) -> None:
    finished = _run("--quick", *options)
    assert finished.returncode == 2
    assert complaint in finished.stderr
