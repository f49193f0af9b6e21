"""``simo-cl run``."""

from __future__ import annotations

from typing import Annotated

import typer

from simo_cl.cli.errors import fail, interruptible, plain_errors
from simo_cl.cli.options import (
    RESULTS,
    DataRootOption,
    DeviceOption,
    PluginsOption,
    ReplaceOption,
    ResultsOption,
    SetOption,
    StrategiesDirOption,
    SuiteArgument,
    TrackingOption,
)
from simo_cl.cli.terminal import given_command, make_console


def run(
    suite: SuiteArgument,
    strategies: Annotated[str | None, typer.Option(help="Only these, comma-separated.")] = None,
    seeds: Annotated[str | None, typer.Option(help="These instead of the suite's: 0,1,2.")] = None,
    device: DeviceOption = "auto",
    data_root: DataRootOption = None,
    overrides: SetOption = None,
    results: ResultsOption = RESULTS,
    tracking_uri: TrackingOption = None,
    plugins: PluginsOption = None,
    strategies_dir: StrategiesDirOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at once, in processes. Default: as many as have a core for each of their "
            "threads; one on a GPU.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on the Ray cluster at this address: host:6379, ray://host:10001 or auto."
        ),
    ] = None,
    ray_shared: Annotated[
        bool,
        typer.Option(
            "--ray-shared",
            help="The results folder has the same path on every node of the cluster.",
        ),
    ] = False,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="Take the runs that no other command with --shared is at, on any machine.",
        ),
    ] = False,
    replace: ReplaceOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Only try each strategy, for a few steps on a few images, and keep nothing.",
        ),
    ] = False,
) -> None:
    """Run a suite: what is missing or unfinished of it. Then write its report."""
    options = dict(locals())  # by the names that Request has for them
    del options["suite"], options["dry_run"], options["smoke"]
    if dry_run and smoke:
        fail("--dry-run and --smoke each do something in place of the runs; give one of them")
    console = make_console()
    with plain_errors(), interruptible(console):
        from simo_cl.running import Request

        options["seeds"] = None if seeds is None else _seeds(seeds)
        options["strategies"] = None if strategies is None else strategies.split(",")
        options["overrides"] = overrides or ()
        request = Request(suite, **options)
        if dry_run:
            request.preview(console)
            return
        problems = (
            request.smoke(console) if smoke else request.run(console, given_command()).problems
        )
    if problems:
        raise typer.Exit(1)


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        fail(f"--seeds is {text!r}; give different whole numbers from 0 on, as 0,1,2")
