"""``simo-cl list``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import StrategiesDirOption
from simo_cl.cli.terminal import make_console


def list_(
    suites: Annotated[Path, typer.Option(help="Folder with suite files.")] = Path("benchmarks"),
    strategies_dir: StrategiesDirOption = None,
) -> None:
    """List the strategies, suites and data sources there are."""
    console = make_console()
    with plain_errors():
        from simo_cl.harness.strategy_files import (
            strategies_folder,
            strategy_names,
            strategy_summary,
        )
        from simo_cl.streams import data_source_names

        table = Table(title="Strategies", title_justify="left", show_header=False, box=None)
        folder = strategies_folder(None, strategies_dir)
        for name in strategy_names(folder):
            table.add_row(
                Text(name), Text(_or_problem(partial(strategy_summary, folder / f"{name}.py")))
            )
        console.print(table)
        table = Table(title="\nSuites", title_justify="left", show_header=False, box=None)
        for path in sorted(suites.glob("*.yaml")):
            table.add_row(Text(str(path)), Text(_or_problem(partial(_description, path))))
        console.print(table)
        console.print("\nData sources:", ", ".join(data_source_names()))


def _or_problem(describe: Callable[[], str]) -> str:
    """What describes a file; of a broken one, what is wrong with it."""
    from simo_cl.harness.suite_file import SuiteError

    try:
        return describe()
    except (SuiteError, OSError) as error:
        return f"cannot be read: {error}"


def _description(suite: Path) -> str:
    from simo_cl.harness.suite_file import read_suite

    return " ".join(read_suite(suite).suite.description.split())
