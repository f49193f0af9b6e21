"""The speed benchmarks run and write what they say; how fast anything is, no test asks."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree

import pytest
from processes import run_script

SPEED = Path(__file__).parents[1] / "benchmarks" / "speed"


def _run(script: str, *options: str) -> CompletedProcess[str]:
    return run_script([SPEED / script, *options])


@pytest.mark.slow
def test_streams_are_compared_in_every_section(tmp_path: Path) -> None:
    finished = _run("streams.py", "--threads", "1", "--quick", "--out", str(tmp_path))
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


@pytest.mark.slow
def test_a_report_keeps_what_another_call_measured_in_the_same_environment(tmp_path: Path) -> None:
    elsewhere = {"environment": {"cpu": "another"}, "commands": {"jobs 1": ""}, "rows": [{}]}
    (tmp_path / "harness.json").write_text(json.dumps(elsewhere), encoding="utf-8")
    options = ("--quick", "--only", "overhead", "--out", str(tmp_path), "--jobs")
    first, second = _run("harness.py", *options, "1"), _run("harness.py", *options, "2")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    replaced = "is of another machine, versions or data, and is replaced"
    assert replaced in first.stdout
    assert replaced not in second.stdout

    report = json.loads((tmp_path / "harness.json").read_text(encoding="utf-8"))
    assert [(row["section"], row["jobs"], row["runs"]) for row in report["rows"]] == [
        ("overhead", 1, 20),
        ("overhead", 2, 20),
    ]
    assert all(row["ms_a_run"] > 0 for row in report["rows"])
    commands = report["commands"]
    assert set(commands) == {"overhead 1", "overhead 2"}
    assert commands["overhead 1"].endswith("--jobs 1")
    assert commands["overhead 2"].endswith("--jobs 2")
    page = (tmp_path / "harness.md").read_text(encoding="utf-8")
    assert f"`{commands['overhead 1']}`\n\n`{commands['overhead 2']}`" in page


@pytest.mark.slow
def test_encoders_are_timed_and_trained_in_calls_of_their_own(tmp_path: Path) -> None:
    for part in ("airnet-16", "speed", "airnet-16"):
        finished = _run("encoders.py", "--quick", "--only", part, "--out", str(tmp_path))
        assert finished.returncode == 0, finished.stderr

    report = json.loads((tmp_path / "encoders.json").read_text(encoding="utf-8"))
    speeds = {(r["encoder"], r["batch"]): r for r in report["rows"] if r["section"] == "speed"}
    (epoch,) = (row for row in report["rows"] if row["section"] == "accuracy")
    assert len(speeds) == len(report["rows"]) - 1 >= 2 * 5
    assert all(row["images_a_second"] > 0 for row in speeds.values())
    assert speeds["slim_resnet18-20", 128]["times_slim"] == 1
    assert epoch["encoder"] == "airnet-16"
    assert 0 <= epoch["accuracy"] <= 1
    page = (tmp_path / "encoders.md").read_text(encoding="utf-8")
    assert f"| airnet-16 | 5.9 | {epoch['accuracy']:.3f} | 1 |" in page
    assert "`python benchmarks/speed/encoders.py --quick --only speed" in page
    assert ElementTree.parse(tmp_path / "encoders.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--only", "onlin"), "--only: ['onlin'] are not among"),
        (("--rounds", "10"), "--rounds is 10; it must be from 1 to 9"),
    ],
)
def test_a_wrong_option_is_refused(options: tuple[str, str], complaint: str) -> None:
    finished = _run("streams.py", "--quick", *options)
    assert finished.returncode == 2
    assert complaint in finished.stderr
