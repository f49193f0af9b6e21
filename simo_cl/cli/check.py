"""``simo-cl check``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simo_cl.cli.errors import fail, plain_errors
from simo_cl.cli.options import DataRootOption
from simo_cl.cli.terminal import make_console, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simo_cl.harness.check_parts import Finding


def check(
    file: Annotated[
        Path, typer.Argument(help="A strategy's file, or one that --plugins would take.")
    ],
    data_root: DataRootOption = None,
) -> None:
    """Try a part of your own: build, train a few steps, evaluate, interrupt, go on.

    Exits with 1 if something fails.
    """
    console = make_console()
    if not file.is_file():
        fail(f"{file}: no such file; give a strategy's, or one that registers parts")
    failed = 0
    with plain_errors(), tempfile.TemporaryDirectory(prefix="simo-cl-") as folder:
        from simo_cl.harness.quick_checks import refuse_missing_root

        refuse_missing_root(data_root)
        for finding in _findings(file, Path(folder), data_root):
            failed += bool(finding.problem)
            mark, style = ("fails", "red") if finding.problem else ("ok", None)
            tell(console, f"{mark:>5}  {finding.part}: {finding.tried}", style=style)
            for text in filter(None, (finding.problem, finding.note)):
                tell(console, f"       {text}", style="red" if finding.problem else "yellow")
    if failed:
        raise typer.Exit(1)
    tell(console, "All of it works.")


def _findings(file: Path, folder: Path, data_root: Path | None) -> Iterator[Finding]:
    from simo_cl.harness.check_parts import check_plugins, check_strategy, is_strategy

    if is_strategy(file):
        yield from check_strategy(file, folder)
    else:
        from simo_cl.report.figures import FIGURES

        before = list(FIGURES)
        yield from check_plugins(file, folder, data_root)
        plan = next(folder.glob("*/whole/plan.json"), None)
        for name in FIGURES:
            # Of parts that cannot even be built there are no results to draw.
            if name not in before and plan is not None:
                yield _drawn(name, plan.parent, file)


def _drawn(name: str, suite: Path, file: Path) -> Finding:
    from matplotlib.figure import Figure

    from simo_cl.harness.check_parts import Finding, problems_of
    from simo_cl.report.figures import FIGURES
    from simo_cl.results import load_suite

    with problems_of(file) as problem:
        figure = FIGURES[name](load_suite(suite))
        for panel in figure.panels if figure else ():
            panel.draw(Figure().subplots())
    return Finding(f"figure {name}", "is drawn", *problem)
