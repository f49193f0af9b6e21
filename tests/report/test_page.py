from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from queue import Queue
from threading import Thread

import numpy as np
import pytest
from filelock import FileLock

from simo_cl import load_results
from simo_cl.report import ReportPaths, ResultsError, write_chosen_figures, write_report
from simo_cl.report.figures import suite_figures
from simo_cl.report.page import render_page
from simo_cl.report.statistics import compare_with_control
from simo_cl.results import load_suite, merge_suites

VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}


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
def report(write_incomplete_suite, tmp_path_factory) -> ReportPaths:
    folder = write_incomplete_suite(tmp_path_factory.mktemp("results"))
    (folder / "runs/simo/seed1-1a2b3c4d/embeddings.npz").unlink()
    return write_report(load_suite(folder))


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
    assert "simo, seed 1 embeddings.npz is absent or torn" in text
    assert "10 of 12 planned runs finished" in text
    assert "simo-cl run benchmarks/split_synthetic.yaml --data-root data" in text
    assert "AMD EPYC" in text
    assert "2.14.1" in text


def test_the_page_names_commands_for_its_own_folder(report, html):
    for command in ("report", "ui"):
        assert f"<code>simo-cl {command} {report.page.parent}</code>" in html


def test_the_page_sums_up_in_words(html):
    summary = html[html.index('class="summary"') : html.index("<aside")]
    sentences = re.findall(r"<li>([^<]+)</li>", summary)
    assert sentences[0].startswith("2 of 12 planned runs are in no number or figure below")
    assert any(text.startswith("finetune&#39;s −0.") for text in sentences)


def test_every_figure_and_table_is_on_the_page(report, html):
    suite = load_suite(report.page.parent)
    figures = suite_figures(suite)
    for figure in figures:
        assert html.count(f'id="figure-{figure.name}"') == 1
    assert html.count("data-save=") == 2 * len(figures)
    assert html.count('data-copy="latex"') == html.count("<table")


def test_rows_are_grouped_by_what_the_tests_tell_apart(html):
    board = html[html.index('id="table-result"') : html.index("</table>")]
    groups = re.findall(r'rowgroup"[^>]*>([^<]+)<', board)
    assert [group.strip() for group in groups] == [
        "The control",
        "Below er",
        "Not tested",
        "All classes at once",
    ]


def test_the_first_table_has_the_interval_of_every_mean(report, html):
    board = html[html.index('id="table-result"') : html.index("</table>")]
    row = board[board.index('data-series="simo"') :]
    low, high = (float(re.search(rf'data-{end}="([^"]+)"', row)[1]) for end in ("low", "high"))
    values = load_suite(report.page.parent).values("simo", "average_accuracy")
    half = 12.706205 * np.std(list(values.values()), ddof=1) / np.sqrt(2)  # t, one degree
    mean = np.mean(list(values.values()))
    assert (low, high) == pytest.approx((mean - half, mean + half))


def test_what_a_deviation_is_stands_below_the_first_table(html):
    below = html[html.index('id="table-result"') :].partition("</table>")[2]
    assert "<small>Mean ± standard deviation over 2 to 3 seeds" in below.partition("LaTeX")[0]


def test_a_deviation_that_some_rows_lack_is_explained(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0, 1), missing=[("simo", 1)])
    html = page_without_figures(folder)
    assert "over 1 to 2 seeds, of one there is none" in html
    assert "With one seed there is no deviation" not in html


def test_the_head_of_two_suites_says_what_they_share_and_what_each_has(write_suite_at, tmp_path):
    one = write_suite_at(tmp_path / "one", strategies=("er", "simo"), sample=4)
    small = {"experiences": 2, "classes": 4, "sample": 4, "seeds": (0,), "data": "digits"}
    two = write_suite_at(tmp_path / "two", strategies=("er", "icarl"), **small)
    suite = merge_suites([load_suite(one), load_suite(two)])
    html = render_page(suite, compare_with_control(suite), [], {})
    facts = html[html.index('class="facts"') :].partition("</p>")[0]
    assert re.findall("<span>([^<]+)</span>", facts) == [
        "slim_resnet18, width 20",
        "memory 1000",
        "one: CIFAR-10, JPEG copy; 5 experiences, 10 classes; seeds 0, 1, 2",
        "two: digits; 2 experiences, 4 classes; seed 0",
    ]


@pytest.mark.parametrize(("seeds", "shown"), [(5, False), (10, True)])
def test_wilcoxons_test_has_a_column_from_ten_seeds_on(make_suite, seeds, shown):
    html = page_without_figures(make_suite(strategies=("er", "simo"), seeds=range(seeds)))
    assert ("Wilcoxon p" in html) == shown


def test_a_page_of_one_seed_orders_nothing(make_suite):
    html = page_without_figures(make_suite(strategies=("joint", "er", "simo"), seeds=(0,)))
    board = html[html.index('id="table-result"') : html.index("</table>")]
    assert "A first look, not yet a result" in html
    assert "±" not in board
    assert "interval" not in board
    assert board.index('data-series="er"') < board.index('data-series="simo"')


def test_a_page_without_finished_runs_lists_the_problems(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,), failed=[("er", 0), ("simo", 0)])
    html = write_report(load_suite(folder)).page.read_text(encoding="utf-8")
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


def test_the_same_runs_give_the_same_page(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,), experiences=2, classes=4, sample=4)
    pages = [write_report(load_suite(folder)).page.read_text(encoding="utf-8") for _ in range(2)]
    assert pages[0] == pages[1]


@pytest.mark.usefixtures("few_figures")
def test_a_reader_never_finds_half_a_page_or_table(make_suite):
    suite = load_suite(make_suite(strategies=("er",), seeds=(0,), experiences=2, sample=4))
    paths = write_report(suite)
    files = {path: path.read_text(encoding="utf-8") for path in (paths.page, *paths.tables)}
    with ExitStack() as stack:
        opened = {path: stack.enter_context(path.open(encoding="utf-8")) for path in files}
        write_report(replace(suite, plan=suite.plan.model_copy(update={"suite": "other"})))
        assert {path: file.read() for path, file in opened.items()} == files


@pytest.mark.usefixtures("few_figures")
def test_two_reports_on_one_suite_take_turns(make_suite):
    suite = load_suite(make_suite(strategies=("er",), seeds=(0,), experiences=2, sample=4))
    told: Queue[str] = Queue()
    second = Thread(target=partial(write_report, suite, tell=told.put))
    with FileLock(suite.folder / ".report.lock"):
        second.start()
        message = told.get(timeout=60)
        assert message.startswith(f"Another report writes to {suite.folder}. Waiting for its end;")
        assert {path.name for path in suite.folder.iterdir()} <= {
            "plan.json",
            "runs",
            ".report.lock",
        }
    second.join()
    assert (suite.folder / "report.html").is_file()
    assert told.empty()


@pytest.mark.usefixtures("few_figures")
def test_a_report_that_has_waited_is_of_the_runs_that_have_finished_meanwhile(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,), experiences=2, sample=4)
    (finishing,) = folder.glob("runs/simo/*")
    finishing.rename(folder / "not yet")
    told: Queue[str] = Queue()
    report = Thread(target=partial(write_report, load_suite(folder), tell=told.put))
    with FileLock(folder / ".report.lock"):
        report.start()
        told.get(timeout=60)
        (folder / "not yet").rename(finishing)
    report.join()
    assert "\nsimo,0," in (folder / "runs.csv").read_text()


def test_five_seeds_have_bootstrap_intervals_on_the_page(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=range(5), sample=4)
    html = page_without_figures(folder)
    table = html[html.index('id="table-estimates"') :].partition("</table>")[0]
    iqm = load_results(folder).summary.query("metric == 'average_accuracy'")["iqm"]
    for value in iqm:
        assert f">{value:.3f} <small>[0." in table
    assert "probability of improvement" in table


def test_three_seeds_have_no_table_of_bootstrap_intervals(make_suite):
    html = page_without_figures(make_suite(strategies=("er", "simo"), sample=4))
    assert "table-estimates" not in html


def test_any_rows_can_be_drawn_side_by_side(make_suite):
    folder = make_suite(
        strategies=("joint", "er", "simo"), seeds=(0,), experiences=2, classes=4, sample=4
    )
    paths = write_chosen_figures(load_suite(folder), ["simo", "joint"])
    assert {path.parent for path in paths} == {folder / "figures/chosen"}
    drawings = {path.name: path.read_text("utf-8") for path in paths if path.suffix == ".svg"}
    assert {"tsne.svg", "tsne_pairs.svg", "movement.svg"} <= drawings.keys()
    assert "simo · train" in drawings["tsne.svg"]
    assert "joint · train" in drawings["tsne.svg"]
    assert "er · train" not in drawings["tsne.svg"]
    with pytest.raises(ResultsError, match=r"no finished run of sim in .*; there are joint, er"):
        write_chosen_figures(load_suite(folder), ["sim"])


def page_without_figures(folder) -> str:
    suite = load_suite(folder)
    return render_page(suite, compare_with_control(suite), [], {})
