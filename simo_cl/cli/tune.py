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
    device_of,
    use_plugins,
)
from simo_cl.cli.terminal import given_command, make_console, tell


def tune(
    suite: SuiteArgument,
    strategy: Annotated[str, typer.Option(help="The suite's entry whose settings to choose.")],
    trials: Annotated[int, typer.Option(min=1, help="Points of its search space to try.")],
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
        from simo_cl.harness.plan import read_checked

        suite_file, strategies = read_checked(suite, overrides or (), strategies_dir)
        digest = use_plugins(plugins)
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.tune import run_trials, trials_table, write_trials

        folder = results / suite_file.suite.name / "tuning"
        chosen_device = device_of(device)
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
                plugins=digest,
                command=given_command(),
                replace=replace,
            )
        path = write_trials(folder, tried)
    console.print(trials_table(tried))
    more = f", with {len(tried.earlier)} more that had finished before" if tried.earlier else ""
    tell(console, f"Written to {path}{more}.")
    if tried.best is None:
        tell(console, "Every trial failed; see the logs in the run folders.", style="red")
        raise typer.Exit(1)
    tell(console, f"The best, to put into the suite:\n  {tried.best_as_yaml()}")
