"""``simo-cl tune``."""

from __future__ import annotations

from typing import Annotated

import typer

from simo_cl.cli.errors import interruptible, plain_errors
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
    use_plugins,
)
from simo_cl.cli.terminal import given_command, make_console, tell


def tune(
    suite: SuiteArgument,
    strategy: Annotated[str, typer.Option(help="The suite's entry whose settings to choose.")],
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Points of its search space to try; by default 12, or all if it has fewer.",
        ),
    ] = None,
    seeds_per_trial: Annotated[
        int, typer.Option(min=1, help="A trial is scored by the mean over so many.")
    ] = 2,
    device: DeviceOption = "auto",
    data_root: DataRootOption = None,
    overrides: SetOption = None,
    results: ResultsOption = RESULTS,
    plugins: PluginsOption = None,
    strategies_dir: StrategiesDirOption = None,
    replace: ReplaceOption = False,
) -> None:
    """Choose a strategy's settings on a tenth of the training images held out."""
    console = make_console()
    with plain_errors(), interruptible(console):
        from simo_cl.harness.quick_checks import read_checked, refuse_unknown_entry

        suite_file, strategies = read_checked(
            suite, overrides or (), strategies_dir, data_root, plugins=plugins, device=device
        )
        refuse_unknown_entry(strategy, suite_file, strategies)
        digest = use_plugins(plugins)
        from simo_cl.harness.environment import choose_device
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.tune import run_trials, trials_table

        folder = results / suite_file.suite.name / "tuning"
        chosen_device = choose_device(device)
        with SuiteProgress(console) as progress:
            tried = run_trials(
                suite_file,
                strategy,
                strategies,
                trials,
                folder,
                device=chosen_device,
                data_root=data_root,
                progress=progress,
                seeds=seeds_per_trial,
                plugins=digest,
                command=given_command(),
                replace=replace,
            )
    console.print(trials_table(tried))
    more = f", with {len(tried.earlier)} more that had finished before" if tried.earlier else ""
    tell(console, f"Written to {tried.path}{more}.")
    if tried.best is None:
        tell(console, "Every trial failed; see the logs in the run folders.", style="red")
        raise typer.Exit(1)
    for axis, end in tried.edges.items():
        tell(
            console,
            f"The best {axis}, {tried.best.point[axis]}, is the {end} of those that were tried, so "
            f"that a better one may lie beyond: add values there to SEARCH_SPACE in "
            f"{tried.file.path}, and give every strategy that is compared more trials.",
            style="yellow",
        )
    tell(console, f"The best, to put into the suite:\n  {tried.best_as_yaml()}")
