"""The report of a suite: every table and figure, and one self-contained HTML page."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from simo_cl.metrics.described import Metric, of_family
from simo_cl.registry import did_you_mean
from simo_cl.report.cells import PageTable, breakable
from simo_cl.report.checks import checks
from simo_cl.report.drawing import NEGATIVE, POSITIVE
from simo_cl.report.figures import (
    SPACES,
    Figure,
    Panel,
    Progress,
    Written,
    chosen_figures,
    left_out_figures,
    suite_figures,
    write_figures,
)
from simo_cl.report.findings import headline, summary
from simo_cl.report.leaderboard import make_leaderboard
from simo_cl.report.page_tables import (
    everything_table,
    geometry,
    present,
    read_outs,
    seeds_table,
    settings_table,
)
from simo_cl.report.sections import make_sections
from simo_cl.report.settings import Settings, compare_environments, compare_settings, lookup
from simo_cl.report.statistics import Comparison, compare_with_control
from simo_cl.report.svg import glyph
from simo_cl.report.tables import write_tables
from simo_cl.results import (
    ResultsError,
    Run,
    Suite,
    load_suite,
    merge_suites,
    refuse_without_runs,
    write_atomically,
)
from simo_cl.results.styles import css_variable_of, css_variables, styles
from simo_cl.wording import duration, listed

_SECONDS_WITHOUT_A_WORD = 0.5


@dataclass(frozen=True)
class ReportPaths:
    """What `write_report` wrote, and by name which figures of the user's it left out, as the file
    that registers them was not given; what an earlier report drew of them stays."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def write_report(
    suite: Suite,
    *,
    pdf: bool = False,
    progress: Progress = lambda drawn, of: None,
    tell: Callable[[str], None] = warnings.warn,
) -> ReportPaths:
    """Write runs.csv, summary.csv, tables/, figures/ and report.html into a suite's folder.

    Only finished runs of the current plan enter; the page names the others and why. After waiting
    for another report the suite is read again: that one may have had more of it.

    Args:
        pdf: write every figure as PDF, too.
        progress: told how many figures of how many have been drawn.
        tell: told that another report is waited for.

    Raises:
        ResultsError: the folder holds results without the runs they are of.
    """
    if not suite.finished_runs:
        refuse_without_runs(suite.folder)
    suite.folder.mkdir(exist_ok=True)
    with _one_at_a_time(suite, tell) as has_waited:
        if has_waited:
            suite = merge_suites([load_suite(folder) for folder in suite.parts or (suite.folder,)])
        comparisons = compare_with_control(suite)
        tables = write_tables(suite, comparisons)
        figures = suite_figures(suite)
        left_out = left_out_figures(suite)
        written = write_figures(suite, figures, pdf=pdf, keep=left_out, progress=progress)
        page = suite.folder / "report.html"
        html = render_page(suite, comparisons, figures, written, left_out)
        write_atomically(page, html)
    files = tuple(path for figure in written.values() for path in figure.files)
    return ReportPaths(page, tuple(tables), files, tuple(left_out))


def write_chosen_figures(suite: Suite, labels: Sequence[str], *, pdf: bool = False) -> list[Path]:
    """Write the figures that have room for a few rows into figures/chosen/, with these ones.

    Args:
        labels: of rows with a finished run, as `simo` or `er[memory.size=200]`.
        pdf: write them as PDF, too.

    Raises:
        ResultsError: a label is not one of the finished rows.
    """
    unknown = [label for label in labels if label not in suite.finished_labels]
    if unknown:
        raise ResultsError(
            f"no finished run of {listed(unknown)} in {suite.folder}; there are "
            f"{listed(suite.finished_labels) or 'none'}."
            f"{did_you_mean(unknown[0], suite.finished_labels)}"
        )
    with _one_at_a_time(suite, warnings.warn):
        written = write_figures(suite, chosen_figures(suite, labels), "figures/chosen", pdf=pdf)
    return [path for figure in written.values() for path in figure.files]


@contextmanager
def _one_at_a_time(suite: Suite, tell: Callable[[str], None]) -> Iterator[bool]:
    """Of several reports on one suite: each writes whole files, one after the other. Gives whether
    this one has waited."""
    lock = FileLock(suite.folder / ".report.lock")
    has_waited = False
    try:
        held = lock.acquire(timeout=_SECONDS_WITHOUT_A_WORD)
    except Timeout:
        has_waited = True
        tell(f"Another report writes to {suite.folder}. Waiting for its end; Ctrl-C gives up.")
        held = lock.acquire()
    with held:
        yield has_waited


def render_page(
    suite: Suite,
    comparisons: Sequence[Comparison],
    figures: Sequence[Figure],
    written: Mapping[str, Written],
    left_out: Sequence[str] = (),
) -> str:
    """The page as HTML that needs no other file and no network.

    Args:
        written: by the name of each of the figures.
        left_out: names of figures that nothing has registered this time.
    """
    templates = Environment(
        loader=PackageLoader("simo_cl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["breakable"] = breakable
    drawn_as = styles(suite)
    settings, environment = compare_settings(suite), compare_environments(suite)
    return templates.get_template("report.html.j2").render(
        suite=suite,
        results=shlex.join(map(str, suite.parts or [suite.folder])),
        facts=_facts(suite),
        headline=headline(suite, comparisons),
        summary=summary(suite, comparisons),
        checks=checks(suite, settings, environment),
        board=make_leaderboard(suite, comparisons),
        glyphs={label: Markup(glyph(style)) for label, style in drawn_as.items()},
        result_figures=[figure for figure in figures if figure.section == "result"],
        sections=make_sections(suite, comparisons, figures),
        everything=everything_table(suite),
        seeds=seeds_table(suite),
        settings=settings,
        settings_tables=_settings_tables(suite, settings, environment),
        environment=environment,
        explanations=_explanations(),
        lacking=_lacking(suite),
        left_out=left_out,
        when=_when(suite),
        panel_svg=lambda figure, panel: Markup(written[figure.name].panels[panel.key]),
        matrix_of=_matrix_of,
        css_variable_of=css_variable_of,
        space_names=SPACES,
        shades=_shades(),
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
    )


def _lacking(suite: Suite) -> list[tuple[Run, str]]:
    """Finished runs with what is lost of them, and of those in pictures what cannot be drawn."""
    drawn = [suite.finished(label)[0] for label in suite.finished_labels]
    found = [(run, run.problem) for run in suite.finished_runs if run.problem]
    return [*found, *((run, run.unusable) for run in drawn if run.unusable)]


def _facts(suite: Suite) -> list[str]:
    """The line under the title: what was run on what; of several suites, what they share and then
    what each has of its own."""
    of_each = {part.plan.suite: _facts_of(part) for part in suite.split("suite")}
    first = next(iter(of_each.values()))
    shared = [fact for fact in first if all(fact in facts for facts in of_each.values())]
    own = {name: [f for f in facts if f not in shared] for name, facts in of_each.items()}
    return [*shared, *(f"{name}: {'; '.join(facts)}" for name, facts in own.items() if facts)]


def _facts_of(suite: Suite) -> list[str]:
    facts = [suite.plan.data] if suite.plan.data else []
    if suite.num_experiences:
        classes = len(suite.plan.class_names)
        of = f", {classes} classes" if classes else ""
        facts.append(f"{suite.num_experiences} experiences{of}")
    encoder, width = _shared(suite, "model.encoder"), _shared(suite, "model.width")
    if encoder is not None and width is not None:
        facts.append(f"{encoder}, width {width}")
    if (memory := _shared(suite, "memory.size")) is not None:
        facts.append(f"memory {memory}")
    seeds = ", ".join(map(str, suite.seeds))
    facts.append(f"seed {seeds}" if len(suite.seeds) == 1 else f"seeds {seeds}")
    return facts


def _shared(suite: Suite, setting: str) -> Any:
    """The value that all finished runs have; None where they have several, or none."""
    values = [lookup(run.config, setting) for run in suite.finished_runs]
    return values[0] if values and values.count(values[0]) == len(values) else None


def _shades() -> str:
    """The colours of heat maps for the style sheet, the same on a light and a dark page."""
    channels = {"--positive": POSITIVE, "--negative": NEGATIVE}
    return " ".join(f"{name}: {' '.join(map(str, rgb))};" for name, rgb in channels.items())


def _settings_tables(suite: Suite, settings: Settings, environment: Settings) -> list[PageTable]:
    titles = {
        "differing": ("Shared settings that differ", settings.differing),
        "own": ("The strategies' own settings", settings.own),
        "environments": ("Environments that differ", environment.differing),
    }
    return present(settings_table(suite, key, *titled) for key, titled in titles.items())


def _explanations() -> list[tuple[str, list[Metric]]]:
    return [
        ("Continual learning", list(of_family("continual").values())),
        ("Read-outs", list(read_outs().values())),
        ("Geometry, on unit-norm test samples", list(geometry().values())),
    ]


def _when(suite: Suite) -> str:
    """From the first start to the last end of the finished runs, in UTC."""
    starts = [run.started for run in suite.finished_runs if run.started is not None]
    ends = [run.ended for run in suite.finished_runs if run.ended is not None]
    if not starts or not ends:
        return ""
    first, last = (
        datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")
        for seconds in (min(starts), max(ends))
    )
    total = sum(run.seconds or 0.0 for run in suite.finished_runs)
    return f"{first} to {last} UTC; {duration(total)} of runs"


def _matrix_of(panel: Panel) -> dict[str, Any] | None:
    """What the tooltips of a heat map need; None for other panels."""
    if panel.matrix is None:
        return None
    return {"rows": panel.rows, "columns": panel.columns, "values": panel.matrix}
