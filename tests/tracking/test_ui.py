from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from simo_cl.tracking import ui
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.ui import TrackingError, chart_view_url, serve_ui

if TYPE_CHECKING:
    from conftest import SuiteMaker

SUITE_RUNS = ("finetune", "er", "er_ace", "simo")


@pytest.fixture
def small_suite(suite: SuiteMaker) -> SuiteMaker:
    suite.plan([(label, seed) for label in SUITE_RUNS for seed in (0, 1)])
    for level, label in enumerate(SUITE_RUNS):
        for seed in (0, 1):
            suite.run(label, seed, level=0.2 + 0.2 * level)
    return suite


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def browser_page() -> Iterator[Any]:
    """A page of headless Chromium, skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=options)
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield browser.new_page(viewport={"width": 1700, "height": 1100})
        browser.close()


def test_serves_until_it_is_stopped(small_suite: SuiteMaker, free_port: int) -> None:
    """The real thing, in a process of its own: start, address, an artifact, stop."""
    report = mirror(small_suite.folder)
    base = f"http://127.0.0.1:{free_port}"
    with _served(small_suite.folder, free_port) as (process, output):
        assert output.endswith(f"{chart_view_url(base, report.experiment_id)}\n")
        (run,) = MlflowClient(base).search_runs(
            [report.experiment_id], "attributes.run_name = 'simo seed 1'"
        )
        query = urllib.parse.urlencode({"path": "config.yaml", "run_uuid": run.info.run_id})
        with urllib.request.urlopen(f"{base}/get-artifact?{query}") as artifact:
            assert b"epsilon: 0.1" in artifact.read()
        process.send_signal(signal.SIGTERM)
        assert "MLflow has stopped." in process.communicate(timeout=120)[0]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{base}/health", timeout=2)


@pytest.mark.browser
def test_the_browser_shows_the_strategies_compared(
    small_suite: SuiteMaker, free_port: int, browser_page: Any, tmp_path: Path
) -> None:
    report = mirror(small_suite.folder)
    with _served(small_suite.folder, free_port) as (process, _):
        base = f"http://127.0.0.1:{free_port}"
        browser_page.goto(chart_view_url(base, report.experiment_id))
        for name in SUITE_RUNS:
            browser_page.get_by_role("link", name=name, exact=True).wait_for(timeout=60_000)
        browser_page.get_by_text("Model metrics").first.wait_for()
        charts = browser_page.locator(".js-plotly-plot")
        charts.nth(3).wait_for()
        # First bars, one a strategy, for accuracy and forgetting, then their curves.
        assert charts.nth(0).locator(".bars .point").count() == len(SUITE_RUNS)
        curves = charts.nth(2).locator(".scatterlayer .js-line")
        curves.first.wait_for(state="attached")
        colours = curves.evaluate_all("lines => lines.map(line => line.style.stroke)")
        assert len(set(colours)) == len(SUITE_RUNS)
        browser_page.screenshot(path=tmp_path / "charts.png")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


def test_a_port_in_use(small_suite: SuiteMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=f"--port {port + 1}"):
            serve_ui(small_suite.folder, port=port, open_browser=False)


def test_a_server_as_store_is_only_opened(
    small_suite: SuiteMaker,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_suite.plan([("er", 0), ("simo", 1)], name="opened")
    opened: list[str] = []
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    serve_ui(small_suite.folder, tracking_uri=server)
    experiment = MlflowClient(server).get_experiment_by_name("opened")
    # It was not there yet, so it has been mirrored first.
    assert MlflowClient(server).search_runs([experiment.experiment_id])
    assert opened == [chart_view_url(server, experiment.experiment_id)]
    assert opened[0] in capsys.readouterr().out


def test_a_server_that_does_not_start_says_why(
    small_suite: SuiteMaker, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui.sys, "executable", shutil.which("false"))
    with pytest.raises(TrackingError, match="did not start"):
        serve_ui(small_suite.folder, port=free_port, open_browser=False)


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"plan\.json"):
        serve_ui(tmp_path, open_browser=False)


class _served:
    """`serve_ui` in a process of its own, with what it printed up to the address."""

    def __init__(self, folder: Path, port: int) -> None:
        script = f"""
            from pathlib import Path
            from simo_cl.tracking.ui import serve_ui
            serve_ui(Path({str(folder)!r}), port={port}, open_browser=False)
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        assert self.process.stdout is not None
        output = ""
        while "viewStateShareKey" not in output:
            line = self.process.stdout.readline()
            assert line, f"it ended early:\n{output}"
            output += line
        return self.process, output

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=120)
