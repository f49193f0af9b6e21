"""What all tests share."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from processes import forks

import simo_cl.harness  # noqa: F401 - before any of the tests' processes imports Avalanche
from simo_cl.metrics import described
from simo_cl.models import registry
from simo_cl.report.figures import FIGURES
from simo_cl.streams import sources

# One thread a process: the tests run in parallel, and sums do not depend on the machine's cores.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# The same examples in every run, so that a failure is one for everybody.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

# Avalanche chooses a solver for GEM while it is imported, and says that there is none.
warnings.filterwarnings("ignore", message="no QP solver found")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first, so that none of them is left to one process at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _draw_here() -> Iterator[None]:
    """Figures are drawn in the tests' own process, where a warning fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simo_cl.report.figures.write.cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_anew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a killed run, or one that took the processor for another, left in inductor's cache is
    not loaded: it may end the process. The tests' processes share what is compiled now."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _mlflow_is_imported_once() -> Iterator[None]:
    """What follows a suite in a process of its own is forked from one that has imported MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simo_cl.tracking.follow.process_context", forks)
        yield


@pytest.fixture(autouse=True)
def _registered_for_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a test's own are not there for the next one."""
    own = (sources._SOURCES, registry._BUILDERS, described.METRICS, described.READ_OUTS, FIGURES)
    for parts in own:
        monkeypatch.setattr(parts, "_parts", dict(parts._parts))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with MLflow's tables in it: making those takes two seconds, copying none."""
    from simo_cl.tracking.store import open_client

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_client(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium that calls nobody by itself; skipped where there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api")
    quiet = ["background-networking", "component-update", "sync", "gpu"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)],
        )
        yield browser
        browser.close()
