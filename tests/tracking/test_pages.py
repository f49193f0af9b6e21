"""MLflow's pages of a suite, as a person sees them, in headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from mlflow import MlflowClient

from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.view import chart_view_url

if TYPE_CHECKING:
    from conftest import Exported, SuiteMaker

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STRATEGIES = ("finetune", "er", "er_ace", "simo")
VIEW = "workflowType=machine_learning"


@dataclass
class Site:
    """A served suite: the address of its experiment, and what is in it by name."""

    base: str
    experiment_id: str
    runs: dict[str, str]
    models: dict[str, str]

    @property
    def experiment(self) -> str:
        return f"{self.base}/#/experiments/{self.experiment_id}"


@pytest.fixture(scope="module")
def site(
    make_suite: Callable[[Path], SuiteMaker],
    exported: Exported,
    serve: Callable[..., Any],
    any_free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    suite = make_suite(tmp_path_factory.mktemp("pages") / "tiny")
    suite.plan([(label, seed) for label in STRATEGIES for seed in (0, 1)])
    for number, label in enumerate(STRATEGIES):
        suite.run(label, 0, level=0.2 + 0.2 * number, arrays=True)
        suite.run(label, 1, level=0.2 + 0.2 * number, arrays=True)
    suite.run("simo", 1, level=0.8, arrays=True, model=exported.folder)
    report = mirror(suite.folder)
    port = any_free_port()
    with serve(suite.folder, port):
        base = f"http://127.0.0.1:{port}"
        client = MlflowClient(base)
        yield Site(
            base,
            report.experiment_id,
            {r.info.run_name: r.info.run_id for r in client.search_runs([report.experiment_id])},
            {m.name: m.model_id for m in client.search_logged_models([report.experiment_id])},
        )


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """A page in which nothing may go wrong, and which may talk to the server alone."""
    context = browser.new_context(viewport={"width": 1700, "height": 1100})
    context.set_default_timeout(0)  # on a busy machine a page takes its time
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message) if message.type == "error" else 0)
    yield page
    context.close()
    assert {urlsplit(url).hostname for url in requests if url.startswith("http")} == {"127.0.0.1"}
    assert [problem for problem in problems if not is_mlflows_own(problem)] == []


def is_mlflows_own(problem: Any) -> bool:
    """It asks who is logged in, which a server without accounts does not know; and where its charts
    take long to draw, browsers say that they were told of a size too late."""
    return not isinstance(problem, str) and (
        problem.location["url"].endswith("/users/current") or "ResizeObserver loop" in problem.text
    )


def test_the_charts_show_the_strategies_side_by_side(page: Any, site: Site) -> None:
    page.goto(chart_view_url(site.base, site.experiment_id))
    for name in STRATEGIES:
        page.get_by_role("link", name=f"{name} · tiny", exact=True).wait_for()
    for section in ("Strategies compared", "Model metrics", "Differences", "train", "cost"):
        page.get_by_text(section).first.wait_for(state="attached")
    charts = page.locator(".js-plotly-plot")
    charts.nth(3).wait_for()  # what is out of sight is not drawn
    # First bars, one a strategy, for accuracy and forgetting, then their curves.
    assert charts.nth(0).locator(".bars .point").count() == len(STRATEGIES)
    assert charts.nth(1).locator(".bars .point").count() == len(STRATEGIES)
    curves = charts.nth(2).locator(".scatterlayer .js-line")
    curves.first.wait_for(state="attached")
    colours = curves.evaluate_all("lines => lines.map(line => line.style.stroke)")
    assert len(set(colours)) == len(STRATEGIES)


def test_the_accuracy_matrices_are_pictures_in_the_charts(page: Any, site: Site) -> None:
    page.goto(chart_view_url(site.base, site.experiment_id))
    page.locator(".js-plotly-plot").first.wait_for()
    page.mouse.move(1100, 800)
    page.mouse.wheel(0, 900)  # what is out of sight is not drawn
    pictures = "img[src*='accuracy_matrix']"
    page.locator(pictures).nth(len(STRATEGIES) - 1).wait_for()
    wait_until_drawn(page, pictures)


def test_a_figure_is_shown(page: Any, site: Site) -> None:
    run = site.runs["simo seed 0 · tiny"]
    page.goto(f"{site.experiment}/runs/{run}/artifacts/figures/confusion.png?{VIEW}")
    page.get_by_text("figures/confusion.png", exact=True).wait_for()
    wait_until_drawn(page, "img[src^='blob:']")


def test_a_table_is_shown(page: Any, site: Site) -> None:
    run = site.runs["simo · tiny"]
    page.goto(f"{site.experiment}/runs/{run}/artifacts/tables/metrics.csv?{VIEW}")
    for text in ("metric", "seed 0", "seed 1", "average_accuracy", "0.81"):
        page.get_by_text(text, exact=True).first.wait_for()


def test_a_strategys_page_gives_its_results_in_words(page: Any, site: Site) -> None:
    page.goto(f"{site.experiment}/runs/{site.runs['simo · tiny']}?{VIEW}")
    page.get_by_text("mean ± standard deviation over 2 of 2 seeds").wait_for()
    assert page.get_by_text("simo_cl.").count() == 0  # no bookkeeping


def test_a_models_page_says_how_to_load_it(page: Any, site: Site) -> None:
    model_id = site.models["simo seed 1"]
    page.goto(f"{site.experiment}/runs/{site.runs['simo seed 1 · tiny']}?{VIEW}")
    page.locator(f"a[href$='{model_id}']:not([target])").first.click()
    page.get_by_text(f'mlflow.pyfunc.load_model("models:/{model_id}")').wait_for()
    page.get_by_text("Ready").first.wait_for()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("requirements.txt").wait_for()


def test_runs_compare_by_settings_and_metrics(page: Any, site: Site) -> None:
    runs = quote(json.dumps([site.runs["er · tiny"], site.runs["simo · tiny"]]))
    experiments = quote(json.dumps([site.experiment_id]))
    page.goto(f"{site.base}/#/compare-runs?runs={runs}&experiments={experiments}")
    page.get_by_text("Comparing 2 Runs").wait_for()
    for text in ("memory.size", "average_accuracy"):
        page.get_by_text(text).first.wait_for(state="attached")


def wait_until_drawn(page: Any, images: str) -> None:
    page.wait_for_function(
        "images => { const all = [...document.querySelectorAll(images)];"
        " return all.length && all.every(image => image.complete && image.naturalWidth > 50) }",
        arg=images,
    )
