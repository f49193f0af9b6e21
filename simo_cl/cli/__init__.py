"""The ``simo-cl`` command.

Each file of a command's name holds that command. Heavy libraries are imported inside the commands,
so that ``--help`` answers at once.
"""

from typing import Annotated

import typer

import simo_cl
from simo_cl.cli import check, data, doctor, init, listing, report, run, sync, tune, ui
from simo_cl.cli.help import Command, Group

app = typer.Typer(
    cls=Group,
    help="Class-incremental benchmarks of the SimO loss and its rivals, on Avalanche.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"simo-cl {simo_cl.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command(cls=Command)(run.run)
app.command(cls=Command)(report.report)
app.command(cls=Command)(sync.sync)
app.command(cls=Command)(ui.ui)
app.command(cls=Command)(tune.tune)
app.command(cls=Command)(check.check)
app.command(cls=Command)(doctor.doctor)
app.command("list", cls=Command)(listing.list_)
app.command(cls=Command)(init.init)
app.add_typer(data.app, name="data")
