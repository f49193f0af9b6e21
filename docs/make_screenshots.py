"""Makes the pictures of docs/mlflow.md: runs a small suite and photographs MLflow's pages of it.

    python docs/make_screenshots.py        # a few minutes; needs playwright and Chromium

Sizes, texts and colours are the same each time; times and identifiers are not.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
STRATEGIES = "finetune,joint,er,er_balanced,supcon,simo"
SIZE = {"width": 1400, "height": 860}
PATIENCE = 180_000
# Where the mouse touches nothing.
NOWHERE = (300, 700)
# The name that the pages show as the runs' author, instead of whoever makes the pictures.
ENVIRONMENT = {"LOGNAME": "researcher", "OMP_NUM_THREADS": "1", "COLUMNS": "110"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # In a folder of its own and with paths relative to it, so that no page shows another.
        simo_cl("init", "suites", cwd=folder)
        suites = Path(folder, "suites")
        suite = "benchmarks/quickstart.yaml"
        chosen = ("--strategies", STRATEGIES, "--seeds", "0,1")
        simo_cl("run", suite, *chosen, cwd=suites)
        with served(suites) as address, photographer() as page:
            take_all(page, address)


def take_all(page: Page, charts: str) -> None:
    """Every picture, given the address that `simo-cl ui` prints."""
    base = charts.partition("/#/")[0]
    client = MlflowClient(base)
    experiment = client.get_experiment_by_name("quickstart")
    runs = {r.info.run_name: r.info.run_id for r in client.search_runs([experiment.experiment_id])}
    models = client.search_logged_models([experiment.experiment_id])
    (model,) = (model.model_id for model in models if model.name == "simo seed 0")
    place, view = (
        f"{base}/#/experiments/{experiment.experiment_id}",
        "workflowType=machine_learning",
    )

    page.goto(charts)
    drawn_charts(page)
    take(page, "mlflow")

    scroll_to(page, "Accuracy matrices", "img[src*='accuracy_matrix']")
    take(page, "mlflow-matrices")
    scroll_to(page, "Differences", "text=Differences from the first column")
    take(page, "mlflow-differences")

    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    take(page, "mlflow-description")

    page.goto("about:blank")
    page.goto(charts.replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    page.get_by_text("average_anytime").first.wait_for()
    put_note_away(page)
    take(page, "mlflow-table")

    page.goto(f"{place}/runs/{runs['simo · quickstart']}?{view}")
    page.get_by_text("Show more").click()
    take(page, "mlflow-strategy")

    page.goto(
        f"{place}/runs/{runs['simo seed 0 · quickstart']}/artifacts/figures/confusion.png?{view}"
    )
    page.locator("img[src^='blob:']").first.wait_for()
    hide(page, "Path: ")
    take(page, "mlflow-figure")

    page.goto(f"{place}/models/{model}?{view}")
    page.get_by_text("mlflow.pyfunc.load_model").wait_for()
    take(page, "mlflow-model")


def drawn_charts(page: Page) -> None:
    """Waits for bars and curves."""
    page.locator(".js-plotly-plot .bars .point").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer .js-line").first.wait_for(state="attached")
    put_note_away(page)


def put_note_away(page: Page) -> None:
    """MLflow tells that it shows a saved view."""
    page.get_by_label("Hide banner").click()
    page.mouse.move(*NOWHERE)


def scroll_to(page: Page, section: str, content: str) -> None:
    """Brings a section of the charts into sight; out of sight, there is nothing in it."""
    page.mouse.move(1000, 700)
    while not page.locator(content).count():
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(500)
    page.get_by_text(section).last.evaluate("title => title.scrollIntoView()")
    page.mouse.wheel(0, -130)  # from under the search field
    page.mouse.move(*NOWHERE)


def take(page: Page, name: str) -> None:
    """Saves what the page shows."""
    page.wait_for_timeout(3000)  # lines and panels slide into place
    file = IMAGES / f"{name}.png"
    page.screenshot(path=file, timeout=PATIENCE)
    with Image.open(file) as picture:
        packed = picture.convert("RGB")
    packed.save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


def hide(page: Page, text: str) -> None:
    """Hides a line that names the folder in which the pictures are made."""
    page.get_by_text(text).first.evaluate("line => { line.style.visibility = 'hidden' }")


@contextmanager
def photographer() -> Iterator[Page]:
    """A page of a fixed size, of a browser that has put MLflow's assistant away before."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        context = browser.new_context(viewport=SIZE, color_scheme="light", locale="en-GB")
        context.add_init_script(
            "if (location.protocol === 'http:')"
            " localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        context.set_default_timeout(PATIENCE)
        yield context.new_page()
        browser.close()


@contextmanager
def served(suites: Path) -> Iterator[str]:
    """`simo-cl ui`, running; gives the address that it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [*SIMO_CL, "ui", "quickstart", "--no-browser", "--port", port]
    process = subprocess.Popen(
        command, cwd=suites, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines: Any = (line.strip() for line in process.stdout)
        yield next(line for line in lines if line.startswith("http"))
    finally:
        process.terminate()
        process.wait()


SIMO_CL = [sys.executable, "-c", "from simo_cl.cli import app; app(prog_name='simo-cl')"]


def simo_cl(*arguments: str, cwd: str | Path) -> None:
    subprocess.run([*SIMO_CL, *arguments], cwd=cwd, env=os.environ | ENVIRONMENT, check=True)


if __name__ == "__main__":
    main()
