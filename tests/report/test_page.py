from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simo_cl.report import ReportPaths, write_report
from simo_cl.report.figures import suite_figures
from simo_cl.report.load import load_suite
from simo_cl.report.page import render_page
from simo_cl.report.statistics import compare_with_control

VOID = {"meta", "br", "link", "img", "input", "hr"}
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Elements(HTMLParser):
    """Every element with its attributes; fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(write_suite_at, tmp_path_factory) -> ReportPaths:
    folder = write_suite_at(
        tmp_path_factory.mktemp("results") / "split_synthetic",
        strategies=("joint", "finetune", "er", "simo"),
        failed=[("er", 1)],
        missing=[("simo", 2)],
        sample=6,
    )
    return write_report(folder)


@pytest.fixture(scope="module")
def html(report) -> str:
    return report.page.read_text(encoding="utf-8")


def test_everything_lies_in_the_suite_folder(report):
    folder = report.page.parent
    assert report.page.name == "report.html"
    assert (folder / "runs.csv") in report.tables
    assert (folder / "summary.csv") in report.tables
    assert (folder / "figures/accuracy.svg") in report.figures
    assert all(path.is_file() for path in (*report.tables, *report.figures))


def test_the_page_needs_no_other_file_and_no_network(html):
    elements = Elements(html).found
    assert len(html) < 10_000_000
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, target)
        assert tag not in ("link", "iframe", "img")
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html


def test_ids_are_unique_and_links_lead_somewhere(html):
    elements = Elements(html).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in elements:
        if tag == "a":
            assert attributes["href"][1:] in ids


def test_figures_have_text_alternatives(html):
    drawings = [a for tag, a in Elements(html).found if tag == "svg" and "class" not in a]
    assert len(drawings) > 20
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)


def test_the_page_says_what_was_run_and_what_is_missing(html):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert "CIFAR-10, JPEG copy" in text
    assert "er, seed 1: failed" in text
    assert "the loss became NaN in experience 2, iteration 118" in text
    assert "simo, seed 2: missing" in text
    assert "10 of 12 planned runs finished" in text
    assert "simo-cl run benchmarks/split_synthetic.yaml --data-root data" in text
    assert "AMD EPYC" in text
    assert "2.14.1" in text


def test_rows_are_grouped_by_what_the_tests_tell_apart(html):
    board = html[html.index('id="table-result"') : html.index("</table>")]
    groups = re.findall(r'rowgroup"[^>]*>([^<]+)<', board)
    assert [group.strip() for group in groups] == [
        "The control",
        "Below er",
        "Not tested",
        "All classes at once",
    ]


def test_a_page_of_one_seed_orders_nothing(make_suite):
    html = page_without_figures(make_suite(strategies=("joint", "er", "simo"), seeds=(0,)))
    board = html[html.index('id="table-result"') : html.index("</table>")]
    assert "A first look, not yet a result" in html
    assert "±" not in board
    assert "interval" not in board
    assert board.index('data-series="er"') < board.index('data-series="simo"')


def test_a_page_without_finished_runs_lists_the_problems(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,), failed=[("er", 0), ("simo", 0)])
    html = write_report(folder).page.read_text(encoding="utf-8")
    assert "No run has finished" in html
    assert "the loss became NaN" in html


def test_names_from_outside_are_escaped(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,))
    plan = json.loads((folder / "plan.json").read_text())
    plan["description"] = "<script>alert(1)</script>"
    (folder / "plan.json").write_text(json.dumps(plan))
    html = page_without_figures(folder)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_the_same_runs_give_the_same_page(report, html):
    suite = load_suite(report.page.parent)
    again = suite_figures(suite, compare_with_control(suite))
    assert render_page(suite, compare_with_control(suite), again) == html


def page_without_figures(folder) -> str:
    suite = load_suite(folder)
    return render_page(suite, compare_with_control(suite), [])


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, report):
    contexts = []

    def open_at(width: int, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("request", lambda request: page.problems.append(request.url))
        page.goto(Path(report.page).as_uri())
        page.problems.remove(Path(report.page).as_uri())
        return page

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_loads_quietly_and_fits(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.problems == []


@pytest.mark.browser
def test_tables_sort_and_copy(open_page):
    page = open_page(1280, permissions=["clipboard-read", "clipboard-write"])
    rows = page.locator("#table-continual tbody tr th")
    planned = rows.all_inner_texts()
    heading = page.locator("#table-continual thead th", has_text="forgetting")
    heading.click()
    assert rows.all_inner_texts()[0] == "finetune"
    assert rows.all_inner_texts()[-1] == "joint"
    heading.click()
    assert rows.all_inner_texts()[-2:] == ["finetune", "joint"]
    heading.click()
    assert rows.all_inner_texts() == planned
    page.locator("#table-continual button.copy").click()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0].startswith("strategy,average accuracy,average accuracy std,")
    assert copied[1].startswith("joint,0.8")


@pytest.mark.browser
def test_pointing_out_a_strategy_dims_the_others(open_page):
    page = open_page(1280)
    page.locator("button[data-focus=simo]").click()
    dimmed = "[data-series={}] >> nth=0"
    accuracy = page.locator("#figure-accuracy")
    assert "dim" in accuracy.locator(dimmed.format("er")).get_attribute("class")
    assert "dim" not in (accuracy.locator(dimmed.format("simo")).get_attribute("class") or "")


@pytest.mark.browser
def test_a_heat_map_tells_its_cell(open_page):
    page = open_page(1280)
    panel = page.locator("#figure-accuracy_matrices .panel[data-series=er]")
    panel.scroll_into_view_if_needed()
    box = panel.locator("image").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    tip = page.locator("#tip").inner_text()
    assert tip.startswith("er\nafter experience 5, on experience 1: 0.")


@pytest.mark.browser
def test_the_page_follows_a_dark_preference(open_page):
    light, dark = open_page(1280), open_page(1280, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('[data-series=simo] path')).stroke"
    assert light.evaluate(background) != dark.evaluate(background)
    assert light.evaluate(line) != dark.evaluate(line)


@pytest.mark.browser
def test_one_space_is_shown_at_a_time(open_page):
    page = open_page(1280)
    shown = "[...document.querySelectorAll('.space:not([hidden])')].map((s) => s.dataset.spaceOf)"
    assert page.evaluate(shown) == ["embedding"]
    page.locator("button[data-space=features]").click()
    assert page.evaluate(shown) == ["features"]
