"""``simo-cl report``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import RESULTS, ResultsOption, SuiteOfResultsArgument
from simo_cl.cli.suite_folder import suite_folder
from simo_cl.cli.terminal import make_console, tell

if TYPE_CHECKING:
    from rich.console import Console


def report(
    suite: SuiteOfResultsArgument,
    results: ResultsOption = RESULTS,
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
    with plain_errors():
        folder = suite_folder(suite, results)
        if not rows:
            write_and_show(make_console(), folder, pdf=pdf)
            return
        from simo_cl.report import write_chosen_figures

        for path in write_chosen_figures(folder, rows, pdf=pdf):
            typer.echo(path)


def write_and_show(console: Console, folder: Path, *, pdf: bool = False) -> None:
    """Prints the table of a suite's folder, writes its report, and prints where to see more."""
    from simo_cl.report import comparison_table, write_report

    console.print(comparison_table(folder))
    tell(console, "Drawing the report ...")
    paths = write_report(folder, pdf=pdf)
    tell(
        console,
        f"Report: {paths.page}\nCompare in MLflow: simo-cl ui {shlex.quote(str(folder))}",
    )
