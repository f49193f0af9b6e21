"""``simo-cl data``."""

from __future__ import annotations

from typing import Annotated

import typer

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import DataRootOption
from simo_cl.cli.terminal import make_console, tell

app = typer.Typer(help="Look for data sets, or download them.", no_args_is_help=True)


@app.command()
def check(data_root: DataRootOption = None) -> None:
    """Say which data sets are found, and where."""
    with plain_errors():
        from rich.table import Table

        from simo_cl.streams import check_data

        table = Table(title="Data sets")
        for column in ("name", "found", "where", "detail"):
            table.add_column(column, overflow="fold")
        for status in check_data(data_root):
            found = "yes" if status.found else "no"
            table.add_row(status.name, found, status.where, status.detail)
        make_console().print(table)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, mnist or fashion_mnist.")],
    data_root: DataRootOption = None,
) -> None:
    """Download a data set with torchvision."""
    with plain_errors():
        from simo_cl.streams import fetch_data

        path = fetch_data(name, data_root)
    tell(make_console(), f"{name} is in {path}.")
