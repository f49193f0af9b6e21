"""``simo-cl data``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.help import Command, Group
from simo_cl.cli.options import DataRootOption, PluginsOption, use_plugins
from simo_cl.cli.terminal import make_console, tell

app = typer.Typer(cls=Group, help="Look for data sets, or download them.", no_args_is_help=True)


@app.command(cls=Command)
def check(data_root: DataRootOption = None, plugins: PluginsOption = None) -> None:
    """Say which data sets are found, and where. Fails if the folder to look in is not there."""
    with plain_errors():
        from simo_cl.streams import check_data
        from simo_cl.streams import data_root as root_of

        use_plugins(plugins)
        table = Table(title="Data sets")
        for column in ("name", "found", "where", "detail"):
            table.add_column(column, overflow="fold")
        for status in check_data(data_root):
            found = "yes" if status.found else "no"
            table.add_row(*map(escape, (status.name, found, status.where, status.detail)))
        console = make_console()
        console.print(table)
        root = root_of(data_root).absolute()
        tell(console, f"Looked in {root} and in folders of the data sets' names there.")
        if not root.is_dir():
            tell(
                console,
                "There is no such folder. Name the one with your data by --data-root or the "
                "variable SIMO_CL_DATA.",
            )
            raise typer.Exit(1)


@app.command(cls=Command)
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, mnist, fashion_mnist or kmnist.")],
    data_root: DataRootOption = None,
) -> None:
    """Download a data set with torchvision."""
    with plain_errors():
        from simo_cl.streams import fetch_data

        path = fetch_data(name, data_root)
    tell(make_console(), f"{name} is in {path}.")
