"""``simo-cl report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simo_cl.cli.errors import interruptible, plain_errors
from simo_cl.cli.options import RESULTS, PluginsOption, ResultsOption, suite_folder, use_plugins
from simo_cl.cli.terminal import make_console


def report(
    suites: Annotated[
        list[Path],
        typer.Argument(
            help="A suite file, the suite's name, or the folder of its results; of several, one "
            "page shows all."
        ),
    ],
    results: ResultsOption = RESULTS,
    plugins: PluginsOption = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            help="Draw this row, as the tables name it, in the figures with room for a few: writes "
            "figures/chosen alone. Repeatable.",
        ),
    ] = None,
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Write figures as PDF, too, which LaTeX can include."),
    ] = False,
) -> None:
    """Write tables, figures and the HTML page of a suite's finished runs."""
    console = make_console()
    with plain_errors(), interruptible(console):
        use_plugins(plugins)
        from simo_cl.running import load_results, report_results

        found = load_results(*(suite_folder(suite, results) for suite in suites))
        if not rows:
            report_results(console, found, pdf=pdf)
            return
        for path in found.write_figures(rows, pdf=pdf):
            typer.echo(path)
