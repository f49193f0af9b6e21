"""The ``simo-cl`` command.

Each file of a command's name holds that command. Heavy libraries are imported inside the commands,
so that ``--help`` answers at once.
"""

import typer

from simo_cl.cli import data, doctor, init, listing, report, run, sync, tune, ui

app = typer.Typer(
    help="Class-incremental benchmarks of the SimO loss and its rivals, on Avalanche.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(run.run)
app.command()(report.report)
app.command()(sync.sync)
app.command()(ui.ui)
app.command()(tune.tune)
app.command()(doctor.doctor)
app.command("list")(listing.list_)
app.command()(init.init)
app.add_typer(data.app, name="data")
