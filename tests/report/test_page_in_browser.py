"""The page as a reader uses it, in headless Chromium and from a file."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from simo_cl.report import write_report
from simo_cl.report.drawing import STYLE
from simo_cl.report.figures.curves import accuracy
from simo_cl.report.svg import drawing_of, save_files
from simo_cl.results import load_suite

pytestmark = pytest.mark.browser
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report(write_incomplete_suite, tmp_path_factory) -> Path:
    folder = write_incomplete_suite(tmp_path_factory.mktemp("results"))
    return write_report(load_suite(folder)).page


@pytest.fixture
def open_page(browser, report):
    """Open the report; at the end no page has asked for anything or complained."""
    contexts, pages = [], []

    def open_at(width: int = 1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(0)  # on a busy machine a page takes its time
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("request", lambda request: page.problems.append(request.url))
        page.goto(report.as_uri())
        page.problems.remove(report.as_uri())
        pages.append(page)
        return page

    yield open_at
    problems = [
        problem
        for page in pages
        for problem in page.problems
        if not problem.startswith(("data:", "blob:"))
    ]
    for context in contexts:
        context.close()
    assert problems == []


def shown(page, selector: str) -> int:
    return page.locator(selector).filter(visible=True).count()


def copied(page, table: str, how: str) -> str:
    page.locator(f"#table-{table} button[data-copy={how}]").click()
    return page.evaluate("navigator.clipboard.readText()")


def saved(page, figure: str, how: str) -> Path:
    with page.expect_download() as download:
        page.locator(f"#figure-{figure} button[data-save={how}]").click()
    path = Path(download.value.path())
    return path.rename(path.with_name(download.value.suggested_filename))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_loads_quietly_and_fits(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert shown(page, "figure") > 10


def test_without_scripts_everything_is_there_and_nothing_pretends_to_work(open_page):
    page = open_page(java_script_enabled=False)
    assert shown(page, "figure:not(details *)") == page.locator("figure:not(details *)").count()
    assert shown(page, "button") == 0
    assert shown(page, "input") == 0


def test_tables_sort(open_page):
    page = open_page()
    rows = page.locator("#table-continual tbody tr th")
    planned = rows.all_inner_texts()
    heading = page.locator("#table-continual thead th", has_text="forgetting")
    heading.click()
    assert rows.all_inner_texts()[0] == "finetune"
    assert rows.all_inner_texts()[-1] == "joint"
    heading.focus()
    page.keyboard.press("Enter")
    assert rows.all_inner_texts()[-2:] == ["finetune", "joint"]
    heading.click()
    assert rows.all_inner_texts() == planned


def test_a_table_is_copied_as_csv_in_full_precision(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    table = list(csv.DictReader(io.StringIO(copied(page, "continual", "csv"))))
    assert [row["strategy"] for row in table] == ["joint", "finetune", "er", "simo"]
    assert len(table[0]["average accuracy"]) > 8
    assert float(table[2]["average accuracy std"]) > 0
    board = list(csv.DictReader(io.StringIO(copied(page, "result", "csv"))))
    finetune = next(row for row in board if row["strategy"] == "finetune")
    assert (
        float(finetune["minus er low"])
        < float(finetune["minus er"])
        < float(finetune["minus er high"])
    )


def test_a_table_is_copied_as_latex(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    lines = [line.strip() for line in copied(page, "continual", "latex").splitlines()]
    head = next(line for line in lines if line.startswith("strategy & "))
    columns = head.count(" & ") + 1
    assert r"forgetting $\downarrow$" in head
    assert rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}" in lines
    assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(lines)
    er = next(line for line in lines if line.startswith("er & "))
    assert er.endswith(r" \\")
    assert er.count(" & ") + 1 == columns
    assert re.match(r"er & \$0\.\d{3} \\pm 0\.\d{3}\$ & ", er)
    assert not any("bf" in line for line in lines)


def test_latex_keeps_the_groups_and_escapes_names(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    board = copied(page, "result", "latex")
    assert r"{l}{\emph{Below er which does not mean equal}}" not in board
    assert r"{l}{\emph{Below er}} \\" in board
    assert r"{l}{\emph{The control} (named in advance in the suite)} \\" in board
    assert re.search(r"& \$-0\.\d{3}\\ \[-0\.\d{3}, -0\.\d{3}\]\$ &", board)
    assert r"95 \% paired" in board
    page.locator("summary", has_text="Every final metric").click()
    assert r"average\_anytime\_accuracy & " in copied(page, "everything", "latex")


def test_a_figure_is_saved_as_svg_in_the_colours_of_paper(open_page):
    page = open_page(color_scheme="dark")
    text = saved(page, "accuracy_matrices", "svg").read_text(encoding="utf-8")
    assert "var(" not in text
    assert "#1b222c" in text  # ink on paper
    root = ET.fromstring(text)
    assert root.findtext(f"{SVG}title") == "Accuracy matrices"
    panels = root.findall(f"{SVG}svg")
    assert len(panels) == 4
    assert all(panel.find(f".//{SVG}image") is not None for panel in panels)
    referred = set(re.findall(r"url\(#([^)]+)\)", text))
    assert referred <= {element.get("id") for element in root.iter()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_is_saved_as_png_at_twice_its_size_on_white(open_page, scheme):
    page = open_page(color_scheme=scheme)
    svg = ET.fromstring(saved(page, "accuracy", "svg").read_text(encoding="utf-8"))
    with Image.open(saved(page, "accuracy", "png")) as image:
        assert image.width == pytest.approx(2 * float(svg.get("width")), abs=2)
        pixels = image.convert("RGB")
        assert pixels.getpixel((1, 1)) == (255, 255, 255)
        colours = {colour for _, colour in pixels.getcolors(1 << 20)}
    assert (40, 82, 174) in colours  # the line of simo on paper


@pytest.mark.slow
def test_every_figure_can_be_saved(open_page):
    page = open_page()
    page.locator("summary", has_text="The result as figures").click()
    for figure in page.locator("figure").filter(visible=True).all():
        name = figure.get_attribute("id").removeprefix("figure-")
        root = ET.fromstring(saved(page, name, "svg").read_text(encoding="utf-8"))
        assert root.findall(f"{SVG}svg"), name
        page.wait_for_timeout(150)  # of more than ten in a second, Chromium drops one
    # The picture is made of what is saved as SVG, here of lines, cells, dots and several panels.
    for name in ("accuracy", "confusion", "tsne", "movement"):
        with Image.open(saved(page, name, "png")) as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 5, name


def test_a_strategy_left_out_leaves_every_figure_table_and_file(open_page):
    page = open_page()
    everywhere = "[data-series=er]:not(.whole *)"
    before = shown(page, everywhere)
    assert shown(page, "#table-result [data-series=er]") > 0
    page.locator("button[data-choose=er]").click()
    assert before > 10
    assert shown(page, everywhere) == 0
    assert shown(page, "#figure-accuracy_matrices .panel") == 3
    root = ET.fromstring(saved(page, "accuracy_matrices", "svg").read_text(encoding="utf-8"))
    assert len(root.findall(f"{SVG}svg")) == 3
    page.locator("#choose-all").click()
    assert shown(page, everywhere) == before


def ticks(page, figure: str, axis: str = "y") -> list[float]:
    labels = page.locator(f"#figure-{figure} [data-axis={axis}] text").all_text_contents()
    numbers = (label.replace("−", "-") for label in labels)
    return [float(number) for number in numbers if re.fullmatch(r"-?[\d.]+", number)]


def leave_out(page, *labels: str) -> None:
    for label in labels:
        page.locator(f"button[data-choose={label}]").click()


def test_axes_go_over_the_strategies_that_are_shown(open_page):
    page = open_page()
    whole = ticks(page, "accuracy")
    leave_out(page, "joint", "finetune")
    rescaled = ticks(page, "accuracy")
    assert 0.5 < rescaled[0] < rescaled[-1] <= 1.0
    assert 3 <= len(rescaled) <= 7
    assert shown(page, "#figure-accuracy text:text-is('joint')") == 0
    leave_out(page, "joint", "finetune")
    assert rescaled[0] > whole[0]
    assert ticks(page, "accuracy") == whole


# Every mark's tooltip, and the value that it stands at by the lines and labels of an axis.
PLACES = """([figure, axis]) => {
    const svg = document.querySelector(`#figure-${figure} svg`);
    const index = axis === "x" ? 0 : 1;
    const group = svg.querySelector(`[data-axis=${axis}]`);
    const lines = [...group.querySelectorAll(":scope > path")]
        .map((line) => Number(line.getAttribute("d").match(/[\\d.]+/g)[index]));
    const values = [...group.querySelectorAll("text")].slice(0, lines.length)
        .map((label) => Number(label.textContent.replace("−", "-")));
    const unit = (lines.at(-1) - lines[0]) / (values.at(-1) - values[0]);
    return [...svg.querySelectorAll("[data-tip]:not(.off)")].map((mark) => [
        mark.dataset.tip,
        values[0] + (Number(mark.querySelector("use").getAttribute(axis)) - lines[0]) / unit,
    ]);
}"""


@pytest.mark.parametrize(
    ("figure", "axis"),
    [("accuracy", "y"), ("accuracy_against_time", "x"), ("accuracy_against_time", "y")],
)
def test_a_mark_on_a_rescaled_axis_stands_at_its_value(open_page, figure, axis):
    page = open_page()
    leave_out(page, "finetune", "joint")
    line = 1 if axis == "x" else 2  # of a tooltip, in the scatter
    marks = page.evaluate(PLACES, [figure, axis])
    assert len(marks) >= 2
    for tip, value in marks:
        said = re.search(r": ([\d.]+)", tip.split("\n")[min(line, tip.count("\n"))])
        assert value == pytest.approx(float(said[1]), rel=0.005), tip


def test_rows_that_are_shown_close_up_and_keep_their_marks(open_page):
    page = open_page()
    page.locator("summary", has_text="The result as figures").click()
    leave_out(page, "joint", "er")
    panel = "#figure-comparison .panel:first-child"
    at = f"""(label) => [...document.querySelectorAll(
        `{panel} [data-series=${{label}}]:is([data-row], [data-tip])`
    )].map((mark) => mark.getBoundingClientRect()).map((box) => box.y + box.height / 2)"""
    places = [page.evaluate(at, label) for label in ("finetune", "simo")]
    assert all(max(row) - min(row) < 4 for row in places)
    box = page.locator(f"{panel} [data-axis=x] > path >> nth=0").bounding_box()
    expected = [box["y"] + share * box["height"] for share in (0.25, 0.75)]
    assert [np.mean(row) for row in places] == pytest.approx(expected, abs=3)


def test_a_line_that_would_flatten_all_others_leaves_the_axis(open_page):
    page = open_page()
    name = page.locator("#figure-forgetting [data-name=finetune] text")
    assert name.text_content() == "finetune ↑"
    leave_out(page, "simo")  # two rows flatten nothing
    assert name.text_content() == "finetune"
    leave_out(page, "simo")
    assert name.text_content() == "finetune ↑"


def test_a_line_without_a_name_of_its_own_has_it_where_it_leaves_the_axis(open_page):
    page = open_page()
    page.locator("#geometry button[data-space=features]").click()
    drift = "#figure-geometry_features .panel:last-child"
    name = page.locator(f"{drift} text", has_text="finetune")
    assert name.text_content() == "finetune ↑"
    box, axes = name.bounding_box(), page.locator(f"{drift} [data-axis=y]").bounding_box()
    assert axes["x"] < box["x"] < box["x"] + box["width"] < axes["x"] + axes["width"]
    assert 0 <= box["y"] - axes["y"] < box["height"]
    svg = saved(page, "geometry_features", "svg").read_text(encoding="utf-8")
    assert "finetune ↑" in svg
    assert "data-series" not in svg
    leave_out(page, "finetune")
    assert name.count() == 0


def test_text_in_figures_can_be_read_on_a_phone(open_page):
    page = open_page(390)
    for figure in ("accuracy", "accuracy_against_time"):
        of_each = page.locator(f"#figure-{figure} text").evaluate_all(
            """texts => texts.map(
                (text) => Math.abs(text.getScreenCTM().a || text.getScreenCTM().b)
                    * parseFloat(getComputedStyle(text).fontSize)
            )"""
        )
        assert min(of_each) > 9, figure


def test_names_keep_apart_and_within_the_axes(open_page):
    page = open_page()
    leave_out(page, "finetune", "joint")
    boxes = [
        name.bounding_box() for name in page.locator("#figure-accuracy [data-name] text").all()
        if name.is_visible()
    ]  # fmt: skip
    tops = sorted(box["y"] for box in boxes)
    assert len(tops) == 2
    assert tops[1] - tops[0] > 0.8 * boxes[0]["height"]


def test_a_saved_file_has_the_rescaled_axes(open_page):
    page = open_page()
    leave_out(page, "finetune", "joint")
    root = ET.fromstring(saved(page, "accuracy", "svg").read_text(encoding="utf-8"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "0.2" not in texts
    assert "joint" not in texts
    assert not any(name.startswith("data-") for mark in root.iter() for name in mark.attrib)


def test_the_first_table_draws_over_the_rows_that_are_shown(open_page):
    page = open_page()
    ends = page.locator("#table-result th[data-strip=accuracy] span")
    before = [float(text) for text in ends.all_inner_texts()]
    leave_out(page, "finetune", "joint")
    low, high = (float(text) for text in ends.all_inner_texts())
    assert high - low < 0.7 * (before[1] - before[0])
    assert shown(page, "#table-result tr.group") == 2  # the control, and those not told apart
    row = page.locator("#table-result tbody tr[data-series=er]:not(.group)")
    mean = float(row.locator("td").first.get_attribute("data-value"))
    left = row.locator(".strip b").first.evaluate("(mark) => mark.style.left")
    assert float(left.rstrip("%")) == pytest.approx(100 * (mean - low) / (high - low), abs=0.1)
    page.locator("#choose-all").click()
    assert [float(text) for text in ends.all_inner_texts()] == before


def test_a_strategy_under_the_pointer_stands_out(open_page):
    page = open_page()
    page.locator("button[data-choose=simo]").hover()
    line = page.locator("#figure-accuracy [data-series={}] >> nth=0".format("er"))
    assert "dim" in line.get_attribute("class")
    page.mouse.move(0, 0)
    assert "dim" not in line.get_attribute("class")


def test_a_slider_steps_through_the_experiences(open_page):
    page = open_page()
    slider = page.locator("#figure-movement input[data-step]")
    panel = "#figure-movement .panel[data-series=er]"
    at = f"[...document.querySelectorAll('{panel}:not([hidden])')].map((p) => p.dataset.step)"
    assert page.evaluate(at) == ["2"]
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(at) == ["1"]
    assert page.locator("#figure-movement output").inner_text() == "2"
    assert saved(page, "movement", "svg").name == "movement-after-2.svg"
    page.locator("#figure-movement .steps button").click()
    assert page.evaluate(at) == ["0", "1", "2"]


def test_a_heat_map_tells_its_cell(open_page):
    page = open_page()
    panel = page.locator("#figure-accuracy_matrices .panel[data-series=er]")
    panel.scroll_into_view_if_needed()
    box = panel.locator("image").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    tip = page.locator("#tip").inner_text()
    assert tip.startswith("er\nafter experience 3, on experience 1: 0.")


def test_values_are_reached_by_keyboard(open_page):
    page = open_page()
    page.locator("#figure-accuracy .panels").focus()
    tips = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        tips.append(page.locator("#tip").inner_text())
    assert tips[0] == tips[2] != tips[1]
    assert all(re.search(r": 0\.\d{3} ± ", tip) for tip in tips)
    page.locator("#table-continual thead th", has_text="forgetting").focus()
    assert "Best accuracy ever reached on earlier experiences" in page.locator("#tip").inner_text()


def test_the_page_follows_a_dark_preference(open_page):
    light, dark = open_page(), open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('[data-series=simo] path')).stroke"
    assert light.evaluate(background) != dark.evaluate(background)
    assert light.evaluate(line) != dark.evaluate(line)


def test_paper_is_light_and_has_no_controls(open_page):
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown(page, "button") == 0
    assert shown(page, ".actions") == shown(page, ".bar") == 0


def test_what_is_folded_is_open_on_paper(open_page):
    page = open_page()
    folded = page.locator("details:not([open])")
    before = folded.count()
    assert before > 2
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() == before


def test_what_is_folded_is_on_paper_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    folded = page.locator("details:not([open]) .table").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()


def test_a_figure_stays_whole_on_paper(open_page):
    page = open_page()
    page.emulate_media(media="print")
    of_each = page.locator("figure").evaluate_all(
        "figures => figures.map((figure) => getComputedStyle(figure).breakInside)"
    )
    assert set(of_each) == {"avoid"}


def test_a_table_goes_on_over_pages_row_by_row(open_page):
    page = open_page()
    page.emulate_media(media="print")
    breaks = "parts => parts.map((part) => getComputedStyle(part).breakInside)"
    assert set(page.locator(".table").evaluate_all(breaks)) == {"auto"}
    assert set(page.locator(".table tr").evaluate_all(breaks)) == {"avoid"}


def test_wide_tables_go_on_below_themselves_on_paper(open_page):
    page = open_page(688)  # A4 without its margins
    page.evaluate("""[...document.querySelector("#table-continual table").rows].forEach((row) => {
        for (let more = 1; more <= 20; more += 1) {
            const cell = row.cells[1].cloneNode(true);
            if (cell.tagName === "TH") cell.textContent = `further ${more}`;
            row.append(cell);
        }
    })""")
    headings = page.locator("#table-continual thead th")
    whole = headings.all_inner_texts()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    too_wide = """[...document.querySelectorAll(".scroll")]
        .filter((box) => box.scrollWidth > box.clientWidth + 1).map((box) => box.ariaLabel)"""
    assert page.evaluate(too_wide) == []
    on_paper = headings.filter(visible=True).all_inner_texts()
    assert on_paper.count("strategy") == 3
    assert [text for text in on_paper if text != "strategy"] == whole[1:]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".further, .elsewhere").count() == 0


def test_one_space_is_shown_at_a_time(open_page):
    page = open_page()
    spaces = "[...document.querySelectorAll('#geometry .space:not([hidden])')]"
    assert page.evaluate(f"{spaces}.map((s) => s.dataset.spaceOf)") == ["embedding"]
    page.locator("#geometry button[data-space=features]").click()
    assert page.evaluate(f"{spaces}.map((s) => s.dataset.spaceOf)") == ["features"]


def test_what_a_file_leaves_out_of_a_drawing_cannot_be_seen(browser, write_suite_at, tmp_path):
    suite = load_suite(write_suite_at(tmp_path / "suite", strategies=("er", "simo"), sample=4))
    (panel,) = accuracy(suite).panels
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(6, 4))
        panel.draw(drawing.add_axes((0.1, 0.15, 0.6, 0.8)))
        drawing.savefig(tmp_path / "whole.svg", facecolor="white")
        compact, *_ = save_files(drawing, drawing_of(drawing), tmp_path / "compact")
    assert compact.stat().st_size < 0.7 * (tmp_path / "whole.svg").stat().st_size
    page = browser.new_page(viewport={"width": 600, "height": 400})
    pictures = []
    for name in ("whole", "compact"):
        page.goto((tmp_path / f"{name}.svg").as_uri())
        with Image.open(io.BytesIO(page.screenshot())) as picture:
            pictures.append(np.asarray(picture.convert("L"), dtype=float))
    page.close()
    assert pictures[0].std() > 10
    assert np.abs(pictures[0] - pictures[1]).mean() < 0.2
