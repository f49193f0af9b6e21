"""A suite on a Ray cluster of node processes."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny import planned

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.cluster import Cluster, cpus_of
from simo_cl.harness.execute_suite import execute_runs
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import ResourceSettings
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import RunFolder

STRATEGY = """\
import os, sys
from avalanche.training.supervised import Naive
from simo_cl.harness.settings import StrategySettings
from _beside import wait_for
SEARCH_SPACE = {}
class Settings(StrategySettings):
    gate: str = "/"
    how: str = "work"
def build(setup, settings):
    if settings.how == "die":
        os._exit(7)
    if settings.how == "raise":
        raise ValueError("no such luck")
    if "mlflow" in sys.modules and "pytest" not in sys.modules:
        raise ValueError("MLflow was imported")
    wait_for(settings.gate)
    return Naive(**setup.stock_arguments(setup.classifier(), settings.lr), plugins=[setup.budget()])
"""
BESIDE = """\
import time
from pathlib import Path
def wait_for(gate):
    while not Path(gate).exists():
        time.sleep(0.05)
"""
ENCODER = """\
from simo_cl.models import register_encoder
def build(channels, width, norm):
    from _layers import flat
    return flat(8), 8
register_encoder("sent", build)
"""
LAYERS = """\
from torch import nn
def flat(size):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, size))
"""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes, each with one core."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    yield cluster, cluster.add_node(num_cpus=1)
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def strategies(tmp_path: Path) -> Path:
    folder = tmp_path / "strategies"
    folder.mkdir()
    for name in ("own", "dies", "raises"):
        (folder / f"{name}.py").write_text(STRATEGY)
    (folder / "_beside.py").write_text(BESIDE)
    return folder


class ActsWhenBothNodesAreBusy(SuiteProgress):
    def __init__(self, console: Console, act: Any) -> None:
        super().__init__(console)
        self._act = act
        self._places = 0

    def run_begins(self, run: PlannedRun, node: str = "") -> None:
        super().run_begins(run, node)
        self._places += 1
        if self._places == 2:
            self._act()


def execute_on(
    address: str, runs: list[PlannedRun], folder: Path, progress: SuiteProgress, **options: Any
) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    resources = options.pop("resources", ResourceSettings(cpus=1))
    cluster = Cluster(address, resources, shared=options.pop("shared", False))
    data = checked_data(runs, None)
    with progress:
        return execute_runs(
            runs, folder, data=data, device=CPU, progress=progress, cluster=cluster, **options
        )


def results(folder: Path, run: PlannedRun) -> list[dict[str, float]]:
    """The metrics of a run, but for times."""
    lines = (folder / run.folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line)["metrics"].items() if not k.endswith("_seconds")}
        for line in lines
    ]


@pytest.mark.slow
def test_a_suite_outlives_a_node(
    nodes: Any, execute: Any, tmp_path: Path, strategies: Path
) -> None:
    cluster, mortal = nodes
    gate, plugins = tmp_path / "gate", tmp_path / "sent.py"
    plugins.write_text(ENCODER)
    (tmp_path / "_layers.py").write_text(LAYERS)
    file = load_plugins(plugins)
    text = f"strategies: {{own: {{gate: {gate}}}}}\nseeds: [0, 1, 2]\n"
    runs = planned(tmp_path, text, ("model.encoder=sent",), strategies=strategies)
    asked_to_stop = signal.getsignal(signal.SIGTERM)

    def act() -> None:
        assert signal.getsignal(signal.SIGTERM) == asked_to_stop
        # What the nodes need of it, they have.
        shutil.rmtree(strategies)
        plugins.unlink()
        cluster.remove_node(mortal, allow_graceful=False)
        gate.touch()

    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    progress = ActsWhenBothNodesAreBusy(console, act)
    failed = execute_on(cluster.address, runs, tmp_path / "there", progress, plugins=file)
    assert execute(runs, tmp_path / "here") == {}

    said = console.export_text()
    assert failed == {}
    assert f"seed 0 on {socket.gethostname()} ..." in said
    assert said.count("begins again, attempt 2 of 4") == 1
    assert "attempt 3" not in said
    for run in runs:
        assert RunFolder(tmp_path / "there" / run.folder).state == "finished"
        assert results(tmp_path / "there", run) == results(tmp_path / "here", run)


@pytest.mark.slow
def test_failures_are_where_the_command_was_given(
    nodes: Any, tmp_path: Path, strategies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simo_cl.harness.cluster._ATTEMPTS", 2)
    text = "strategies:\n  raises: {how: raise}\n  dies: {how: die}\n  own:\n"
    runs = planned(tmp_path, text, strategies=strategies)

    progress = SuiteProgress(Console(quiet=True))
    failed = execute_on(nodes[0].address, runs, tmp_path / "there", progress, shared=True)

    log = tmp_path / "there" / runs[0].folder / "log.txt"
    assert failed["raises, seed 0"] == f"ValueError: no such luck (traceback in {log})"
    assert "in build" in log.read_text()
    assert failed["dies, seed 0"].endswith("(WorkerCrashedError), 2 times")
    states = [RunFolder(tmp_path / "there" / run.folder).state for run in runs]
    assert states == ["failed", "failed", "finished"]
    assert not list((tmp_path / "there").glob(".shared*"))


def test_an_address_without_a_cluster_is_explained(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    runs = planned(tmp_path, "strategies: {er: }\n")
    progress = SuiteProgress(Console(quiet=True))

    with pytest.raises(SuiteError, match=r"(?s)--ray 127\.0\.0\.1:1: no Ray cluster .*`ray start"):
        execute_on("127.0.0.1:1", runs, tmp_path, progress)


def test_without_ray_it_is_said_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    runs = planned(tmp_path, "strategies: {er: }\n")

    with pytest.raises(SuiteError, match=r'pip install "simo-cl\[ray\]"'):
        execute_on("auto", runs, tmp_path, SuiteProgress(Console(quiet=True)))


def test_resources_change_no_hash(tmp_path: Path) -> None:
    (plain,) = planned(tmp_path, "strategies: {er: }\n")
    (reserved,) = planned(tmp_path, "strategies: {er: }\nresources: {cpus: 0.5, gpus: 0.25}\n")

    assert plain.digest == reserved.digest


def test_a_run_has_a_core_for_each_thread_unless_the_suite_says_otherwise(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "strategies: {er: }\n", ("training.threads=3",))

    assert cpus_of(run, ResourceSettings()) == 3
    assert cpus_of(run, ResourceSettings(cpus=0.5)) == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{cpus: 0}", r"tiny\.yaml:\d+: resources\.cpus is 0 .*greater than 0"),
        ("{gpus: 2}", r"tiny\.yaml:\d+: resources\.gpus is 2 .*less than or equal to 1"),
        ("{gpu: 1}", r"unknown key 'resources\.gpu'; allowed here: cpus, gpus.*'gpus'"),
    ],
)
def test_wrong_resources_are_refused(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, f"strategies: {{er: }}\nresources: {given}\n")
