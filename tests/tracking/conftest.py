"""Small suites' folders in the harness's format, and stores to show them in."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from processes import start_forked
from serving import serve_store, serve_suite
from torch import Tensor

from simo_cl.harness.export import export_model
from simo_cl.models import EmbeddingModel, build_encoder, projection_head
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet, load_data
from simo_cl.streams.augmentation import evaluation_transform


@dataclass
class SuiteMaker:
    """Writes a suite's plan and the run folders of it that a test wants."""

    folder: Path

    EXPERIENCES: ClassVar[int] = 3
    CLASSES: ClassVar[int] = 6
    STARTED: ClassVar[float] = 1_760_000_000.0

    def plan(self, runs: Sequence[tuple[str, int]], *, name: str = "tiny", **more: Any) -> None:
        """`runs` holds labels, ``strategy`` or ``strategy[variant]``, with their seeds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = {
            "suite": name,
            "description": "A suite of made-up numbers.",
            "control": "er",
            "data": "made up",
            "command": "simo-cl run benchmarks/tiny.yaml",
            "version": "0.1.0",
            "class_names": [f"class {number}" for number in range(self.CLASSES)],
            "runs": [
                {
                    "strategy": label.partition("[")[0],
                    "variant": label.partition("[")[2].rstrip("]"),
                    "seed": seed,
                    "folder": self.run_name(label, seed),
                }
                for label, seed in runs
            ],
            **more,
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))

    def run(
        self,
        label: str,
        seed: int,
        *,
        state: str = "finished",
        experiences: int | None = None,
        level: float = 0.5,
        metrics: Mapping[str, float] | None = None,
        settings: Mapping[str, Any] | None = None,
        started: float | None = None,
        arrays: bool = False,
        model: Path | None = None,
        message: str = "loss is NaN",
    ) -> Path:
        """Writes one run; `level` is its accuracy after the last experience.

        Without `arrays` its figures need not be drawn, which is what takes the time. `model` is a
        folder with an exported model to put there.
        """
        started = self.STARTED if started is None else started
        folder = self.folder / self.run_name(label, seed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        config = {
            "strategy": label.partition("[")[0],
            "variant": label.partition("[")[2].rstrip("]"),
            "seed": seed,
            "data": {"name": "digits"},
            "stream": {"experiences": self.EXPERIENCES, "class_order": None},
            "memory": {"size": 100},
            "settings": {"epsilon": 0.1, "hidden": [64, 32], **(settings or {})},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "log.txt").write_text("experience 0 done\n")
        error = {"type": "FloatingPointError", "message": message, "traceback": "Traceback ..."}
        status = {
            "state": state,
            "started": started,
            "ended": None if state == "running" else started + 100.0,
            "error": error if state == "failed" else None,
            "environment": {"python": "3.11", "torch": "2.14", "cores": 2},
        }
        (folder / "status.json").write_text(json.dumps(status))
        for experience in range(self.EXPERIENCES if experiences is None else experiences):
            values = self.values(experience, seed, level) | dict(metrics or {})
            self.add_line(folder, experience, values, started + 10.0 * (experience + 1))
        if arrays:
            np.savez(folder / "arrays.npz", **self.arrays(seed, level))
        if model is not None:
            shutil.copytree(model, folder, dirs_exist_ok=True)
        return folder

    @classmethod
    def values(cls, experience: int, seed: int, level: float) -> dict[str, float]:
        accuracy = 1.0 - (1.0 - level) * experience / (cls.EXPERIENCES - 1) + 0.01 * seed
        values = {
            "average_accuracy": accuracy,
            "new_class_accuracy": 0.9,
            "ncm_memory/average_accuracy": accuracy - 0.05,
            "features/orthogonality/mean_abs_cos": 0.8 - 0.1 * experience,
            "embedding/orthogonality/mean_abs_cos": 0.4 - 0.1 * experience,
            "cost/train_seconds": 10.0 * (experience + 1),
            "train/loss": 1.0 / (experience + 1),
        }
        if experience > 0:
            values["forgetting"] = (1.0 - level) * experience / (cls.EXPERIENCES - 1)
            values["features/drift/class_mean"] = 0.1 * experience
        return values

    @classmethod
    def arrays(cls, seed: int, level: float) -> dict[str, np.ndarray]:
        draw = np.random.default_rng(seed)
        seen = np.tril(np.full((cls.EXPERIENCES, cls.EXPERIENCES), level)) + 0.01 * seed
        cosines = np.clip(draw.normal(0, 0.3, (cls.EXPERIENCES, cls.CLASSES, cls.CLASSES)), -1, 1)
        return {
            "accuracy/own": seen,
            "accuracy/knn": seen + 0.1,
            "confusion": draw.integers(0, 50, (cls.EXPERIENCES, cls.CLASSES, cls.CLASSES)),
            "class_mean_cos/features": cosines,
            "class_mean_cos/embedding": cosines / 2,
            "simo_similarity/features": np.abs(cosines),
            "experience_of_class": np.repeat(
                np.arange(cls.EXPERIENCES), cls.CLASSES // cls.EXPERIENCES
            ),
        }

    @staticmethod
    def add_line(folder: Path, experience: int, values: Mapping[str, float], at: float) -> None:
        line = {"experience": experience, "time": at, "metrics": dict(values)}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def run_name(label: str, seed: int) -> str:
        strategy, _, variant = label.partition("[")
        place = f"{strategy}@{variant.rstrip(']')}" if variant else strategy
        return f"runs/{place}/seed{seed}-1a2b3c4d"


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@dataclass
class Exported:
    """A model, and the folder with what a run leaves of it."""

    model: EmbeddingModel
    data: DataSet
    folder: Path

    def points(self, images: Tensor) -> dict[str, np.ndarray]:
        """What the model itself makes of pixels."""
        with torch.no_grad():
            features = self.model.encoder(evaluation_transform(self.data)(images))
            spaces = {"features": features, "embedding": self.model.head(features)}
        return {space: points.numpy() for space, points in spaces.items()}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    data = load_data("digits")
    encoder = build_encoder("small_cnn", channels=1, width=4)
    model = EmbeddingModel(encoder, projection_head("mlp", encoder.num_features, 16), 10)
    model(torch.randn(8, 1, 8, 8))  # so that the running statistics are not the initial ones
    layers = {"features": "encoder", "embedding": "head"}
    export_model(model.eval(), layers, data, RunFolder(folder))
    return Exported(model, data, folder)


@pytest.fixture
def suite_without_store(tmp_path: Path) -> SuiteMaker:
    """A suite's folder with nothing in it."""
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    return SuiteMaker(folder)


@pytest.fixture
def suite(tmp_path: Path, make_suite: Callable[[Path], SuiteMaker]) -> SuiteMaker:
    """A suite's folder with an empty store of its own."""
    return make_suite(tmp_path / "results" / "tiny")


@pytest.fixture
def server(running_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a real MLflow server, which on a busy machine may take its time."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    return running_server


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """One server on the loopback for all tests."""
    server = Server(tmp_path_factory.mktemp("server"), empty_store)
    try:
        server.start()
        yield server.address
    finally:
        server.end()


@pytest.fixture
def own_server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    """A server that is not started yet, for one test to do with as it likes."""
    server = Server(tmp_path / "server", empty_store)
    yield server
    server.end()


class Server:
    """A real MLflow server, in a folder of its own."""

    def __init__(self, folder: Path, empty_store: Path) -> None:
        folder.mkdir(exist_ok=True)
        shutil.copy(empty_store, folder / "mlflow.db")
        self.folder = folder
        self.port = a_free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: BaseProcess | None = None

    def start(self) -> None:
        """Starts it, or starts it again, and waits until it answers."""
        says = self.folder / "server.log"
        self.process = start_forked(
            serve_store, self.folder, self.port, says=[says], folder=self.folder
        )
        while not answers(self.address):
            assert self.process.is_alive(), says.read_text()
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.join()
        self.process = None

    def end(self) -> None:
        if self.process is not None:
            self.kill()


@pytest.fixture(scope="session")
def make_suite(empty_store: Path) -> Callable[[Path], SuiteMaker]:
    """Makes a suite's folder with an empty store of its own."""

    def make(folder: Path) -> SuiteMaker:
        folder.mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlflow.db")
        return SuiteMaker(folder)

    return make


@pytest.fixture(scope="session")
def any_free_port() -> Callable[[], int]:
    return a_free_port


@pytest.fixture
def free_port() -> int:
    return a_free_port()


@pytest.fixture(scope="session")
def serve() -> Callable[[Path, int], Served]:
    """The real command, `serve_ui`, in a process of its own."""
    return Served


class Served:
    """`serve_ui` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self._says = folder.with_suffix(".txt")
        self._process = start_forked(serve_suite, folder, port, says=[self._says])

    def output(self) -> str:
        return self._says.read_text() if self._says.exists() else ""

    def __enter__(self) -> Served:
        while not re.search("viewStateShareKey.*\n", self.output()):
            assert self._process.is_alive(), self.output()
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """As a terminal that is closed does it."""
        self._process.terminate()
        self._process.join()

    def __exit__(self, *error: object) -> None:
        self.stop()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
