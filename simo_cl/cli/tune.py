"""``simo-cl tune``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    use_plugins,
)
from simo_cl.cli.terminal import given_command, make_console, tell

if TYPE_CHECKING:
    from simo_cl.harness.suite_file import SuiteFile

_CHANCE = 0.9


def tune(
    suite: SuiteArgument,
    strategy: Annotated[str, typer.Option(help="The suite's entry whose settings to choose.")],
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Points of its search space to try; without it, you are told how many."
            " are sensible.",
        ),
    ] = None,
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

        suite_file, strategies = read_checked(
            suite, overrides or (), strategies_dir, data_root, has_plugins=plugins is not None
        )
        digest = use_plugins(plugins)
        if trials is None:
            fail(_how_many_trials(suite_file, strategy, strategies))
        from simo_cl.harness.environment import choose_device
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.tune import run_trials, trials_table, write_trials

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


def _how_many_trials(file: SuiteFile, entry: str, strategies: Path) -> str:
    from simo_cl.harness.plan import strategy_of
    from simo_cl.harness.strategy_files import load_strategy

    space = load_strategy(strategy_of(file.suite, entry, file.places), strategies, "--strategy")
    points = math.prod(map(len, space.search_space.values()))
    best = math.ceil(points / 4)
    enough = next(n for n in range(1, points + 1) if _chance(points, best, n) >= _CHANCE)
    return (
        f"give --trials: the search space of {entry!r} has {points} points, and each that is tried "
        f"is a whole run. Of {enough}, at random, one is among the best {best} with a chance of "
        f"at least {_CHANCE:.0%}: --trials {enough}. Give all that you compare the same number"
    )


def _chance(points: int, best: int, tried: int) -> float:
    """That one of the best points is among those tried."""
    return 1 - math.comb(points - best, tried) / math.comb(points, tried)
