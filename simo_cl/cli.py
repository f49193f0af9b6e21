"""The ``simo-cl`` command."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

# The heavy libraries are imported inside the commands, so that --help answers at once.
if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from simo_cl.harness.cluster import Cluster
    from simo_cl.harness.plan import Run
    from simo_cl.harness.settings import Suite

app = typer.Typer(
    help="Class-incremental benchmarks of the SimO loss and its rivals, on Avalanche.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Look for data sets, or download them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

SuiteArgument = Annotated[Path, typer.Argument(help="A suite file, as benchmarks/quickstart.yaml.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Where suites have their folders.")]
DataRootOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the data. Default: $SIMO_CL_DATA, or ./data."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, as training.epochs=1 or simo@epsilon=0.2. Repeatable."),
]
PluginsOption = Annotated[
    Path | None,
    typer.Option(help="A Python file that registers data sources or encoders of your own."),
]
StrategiesDirOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with strategy files. Default: strategies/ beside the suite's folder."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        help="MLflow store or server. Default: $MLFLOW_TRACKING_URI, or mlflow.db in the suite's "
        "results."
    ),
]
RESULTS = Path("results")


@app.command()
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
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, in processes.")] = 1,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
) -> None:
    """Run a suite: what is missing or unfinished of it. Then write its report."""
    console = _console()
    with _plain_errors(), _interruptible(console):
        _load_plugins(plugins)
        content, planned, chosen = _plan(suite, overrides, strategies, seeds, strategies_dir)
        from simo_cl.harness.execute_suite import checked_data, execute_runs, write_plan
        from simo_cl.harness.preview import preview_table
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.run_folder import RunFolder
        from simo_cl.harness.suite_lock import suite_lock
        from simo_cl.tracking.follow import Follower

        chosen_device = _device(device)
        cluster = _cluster(content, ray, ray_shared, device, jobs)
        folder = results / content.name
        data = checked_data(chosen, data_root)
        if dry_run:
            console.print(preview_table(chosen, folder, data, chosen_device))
            return
        with suite_lock(folder / "suite.lock", _command(), partial(_tell, console)):
            asked_for = {r.folder for r in chosen}
            kept = [
                r
                for r in planned
                if r.folder in asked_for or RunFolder(folder / r.folder).state != "missing"
            ]
            write_plan(folder, content, kept, command=_command(), data=data)
            with (
                SuiteProgress(console) as progress,
                Follower(folder, tracking_uri, progress.tell) as follower,
            ):
                outcome = execute_runs(
                    chosen,
                    folder,
                    data=data,
                    device=chosen_device,
                    progress=progress,
                    jobs=jobs,
                    cluster=cluster,
                    plugins=plugins,
                )
            report_problem = _try_to_report(folder)
    if report_problem is not None:
        _tell(
            console,
            f"The report is not up to date: {report_problem}. This writes it:\n"
            f"  simo-cl report {shlex.quote(str(folder))}",
            style="red",
        )
    if follower.problem is not None:
        _tell(
            console,
            f"MLflow is not up to date: {follower.problem} Nothing is lost; this brings it up to "
            f"date once the server answers:\n  {_sync_command(folder, tracking_uri)}",
            style="red",
        )
    for name, reason in outcome.failed.items():
        _tell(console, f"Failed: {name}: {reason}", style="red")
    if outcome.failed or report_problem is not None:
        raise typer.Exit(1)


@app.command()
def report(
    suite: SuiteArgument,
    results: ResultsOption = RESULTS,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            help="Draw this row, as the tables name it, in the figures with room for a few: writes "
            "figures/chosen alone. Repeatable.",
        ),
    ] = None,
) -> None:
    """Write tables, figures and the HTML page of a suite's finished runs."""
    with _plain_errors():
        folder = _suite_folder(suite, results)
        if not rows:
            _report(folder)
            return
        from simo_cl.report import write_chosen_figures

        for path in write_chosen_figures(folder, rows):
            typer.echo(path)


@app.command()
def sync(
    suite: SuiteArgument,
    results: ResultsOption = RESULTS,
    tracking_uri: TrackingOption = None,
) -> None:
    """Bring MLflow up to date with a suite's run folders."""
    console = _console()
    with _plain_errors():
        from simo_cl.tracking.mirror import mirror
        from simo_cl.tracking.redact import without_secrets

        shown = mirror(_suite_folder(suite, results), tracking_uri)
    for problem in shown.problems:
        _tell(console, f"Warning: {problem}", style="yellow")
    _tell(
        console,
        f"{without_secrets(shown.tracking_uri)} shows {shown.children} runs of {shown.parents} "
        f"strategies; {shown.written} entries were new or had changed, {shown.removed} went to "
        "its trash.",
    )


@app.command()
def ui(
    suite: SuiteArgument,
    results: ResultsOption = RESULTS,
    tracking_uri: TrackingOption = None,
    port: Annotated[int, typer.Option(help="On the loopback address.")] = 5000,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open MLflow's own UI on a suite, with its strategies compared."""
    with _plain_errors():
        from simo_cl.tracking.ui import serve_ui

        folder = _suite_folder(suite, results)
        serve_ui(folder, tracking_uri=tracking_uri, port=port, open_browser=browser)


@app.command()
def tune(
    suite: SuiteArgument,
    strategy: Annotated[str, typer.Option(help="Whose settings to choose.")],
    trials: Annotated[int, typer.Option(min=1, help="Points of its search space to try.")],
    device: DeviceOption = "auto",
    data_root: DataRootOption = None,
    overrides: SetOption = None,
    results: ResultsOption = RESULTS,
    plugins: PluginsOption = None,
    strategies_dir: StrategiesDirOption = None,
) -> None:
    """Choose a strategy's settings on a tenth of the training images held out."""
    console = _console()
    with _plain_errors(), _interruptible(console):
        _load_plugins(plugins)
        from simo_cl.harness.strategy_files import load_strategy, strategies_folder
        from simo_cl.harness.suite_file import read_suite

        suite_file = read_suite(suite, overrides or ())
        file = load_strategy(strategy, strategies_folder(suite, strategies_dir), "--strategy")
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.tune import run_trials, trials_table, write_trials

        folder = results / suite_file.suite.name / "tuning"
        with SuiteProgress(console) as progress:
            tried = run_trials(
                suite_file,
                file,
                trials,
                folder,
                device=_device(device),
                data_root=data_root,
                progress=progress,
                command=_command(),
            )
        path = folder / f"{strategy}.json"
        write_trials(path, tried)
    console.print(trials_table(tried))
    console.print(f"Written to {path}.", markup=False)
    if tried.best is None:
        console.print("Every trial failed; see the logs in the run folders.", style="red")
        raise typer.Exit(1)
    console.print(f"The best, to put into the suite:\n  {tried.best_as_yaml()}", markup=False)


@app.command("list")
def list_(
    suites: Annotated[Path, typer.Option(help="Folder with suite files.")] = Path("benchmarks"),
    strategies_dir: StrategiesDirOption = None,
) -> None:
    """List the strategies, suites and data sources there are."""
    with _plain_errors():
        from rich.table import Table

        from simo_cl.harness.strategy_files import (
            strategies_folder,
            strategy_names,
            strategy_summary,
        )
        from simo_cl.streams import data_source_names

        table = Table(title="Strategies", title_justify="left", show_header=False, box=None)
        folder = strategies_folder(None, strategies_dir)
        for name in strategy_names(folder):
            table.add_row(name, strategy_summary(folder / f"{name}.py"))
        _console().print(table)
        table = Table(title="\nSuites", title_justify="left", show_header=False, box=None)
        for path in sorted(suites.glob("*.yaml")):
            table.add_row(str(path), _description(path))
        _console().print(table)
        _console().print("\nData sources:", ", ".join(data_source_names()))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write strategies/ and benchmarks/.")],
) -> None:
    """Write the shipped suites and strategies, to run and to change."""
    with _plain_errors():
        from simo_cl.harness.shipped import write_shipped

        written = write_shipped(folder)
    _console().print(
        f"Wrote {len(written)} files below {folder}. Try:\n  cd {folder}\n"
        "  simo-cl run benchmarks/quickstart.yaml",
        markup=False,
    )


@data_app.command("check")
def data_check(data_root: DataRootOption = None) -> None:
    """Say which data sets are found, and where."""
    with _plain_errors():
        from rich.table import Table

        from simo_cl.streams import check_data

        table = Table(title="Data sets")
        for column in ("name", "found", "where", "detail"):
            table.add_column(column, overflow="fold")
        for status in check_data(data_root):
            found = "yes" if status.found else "no"
            table.add_row(status.name, found, status.where, status.detail)
        _console().print(table)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, mnist or fashion_mnist.")],
    data_root: DataRootOption = None,
) -> None:
    """Download a data set with torchvision."""
    with _plain_errors():
        from simo_cl.streams import fetch_data

        path = fetch_data(name, data_root)
    _console().print(f"{name} is in {path}.", markup=False)


def _plan(
    suite: Path,
    overrides: list[str] | None,
    strategies: str | None,
    seeds: str | None,
    strategies_dir: Path | None,
) -> tuple[Suite, list[Run], list[Run]]:
    """The suite, all its runs, and those that were asked for."""
    from simo_cl.harness.plan import plan_runs
    from simo_cl.harness.strategy_files import strategies_folder
    from simo_cl.harness.suite_file import SuiteError, nearest, read_suite

    file = read_suite(suite, overrides or ())
    content = file.suite
    names = list(content.strategies)
    if strategies is not None:
        names = [name.strip() for name in strategies.split(",")]
    for name in names:
        if name not in content.strategies:
            raise SuiteError(
                f"--strategies: {suite} has no strategy {name!r}; it has "
                f"{', '.join(content.strategies)}.{nearest(name, list(content.strategies))}"
            )
    wanted = content.seeds if seeds is None else _seeds(seeds)
    everything = content.model_copy(
        update={"seeds": (*content.seeds, *(s for s in wanted if s not in content.seeds))}
    )
    planned = plan_runs(everything, strategies_folder(suite, strategies_dir), file.places)
    chosen = [r for r in planned if r.settings.strategy in names and r.settings.seed in wanted]
    return content, planned, chosen


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = (-1,)
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        _fail(f"--seeds is {text!r}; give different whole numbers from 0 on, as 0,1,2")
    return seeds


def _device(name: str) -> torch.device:
    from simo_cl.harness.environment import choose_device

    try:
        return choose_device(name)
    except ValueError as error:
        _fail(f"--device: {error}")


def _cluster(
    suite: Suite, address: str | None, shared: bool, device: str, jobs: int
) -> Cluster | None:
    from simo_cl.harness.cluster import Cluster

    if address is None:
        if shared:
            _fail("--ray-shared is about the nodes of a cluster; name one with --ray")
        return None
    if jobs > 1 or device != "auto":
        _fail(
            "--ray takes neither --jobs nor --device: `resources` in the suite, as {cpus: 1, gpus: "
            "0.5}, says how many runs a node has at once, and whether they train on a GPU"
        )
    return Cluster(address, suite.resources, shared)


def _description(suite: Path) -> str:
    """A suite's own; of a broken one, what is wrong with it."""
    from simo_cl.harness.suite_file import SuiteError, read_suite

    try:
        return " ".join(read_suite(suite).suite.description.split())
    except SuiteError as error:
        return f"cannot be read: {error}"


def _suite_folder(suite: Path, results: Path) -> Path:
    """The folder of a suite's results, for a suite file, the suite's name, or that folder."""
    from simo_cl.harness.suite_file import SuiteError, read_suite

    if (suite / "plan.json").is_file():
        return suite
    name = read_suite(suite).suite.name if suite.is_file() else suite.name
    folder = results / name
    if not (folder / "plan.json").is_file():
        there = sorted(path.parent.name for path in results.glob("*/plan.json"))
        raise SuiteError(
            f"no results of {str(suite)!r} in {folder}; run `simo-cl run` first. Suites with "
            f"results in {results}: {', '.join(there) or 'none'}"
        )
    return folder


def _report(folder: Path) -> None:
    from simo_cl.report import comparison_table, write_report

    console = _console()
    paths = write_report(folder)
    console.print(comparison_table(folder))
    console.print(
        f"Report: {paths.page}\nCompare in MLflow: simo-cl ui {folder}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _try_to_report(folder: Path) -> str | None:
    """Why the report cannot be written, on a full disk say: no reason to hide how runs ended."""
    try:
        _report(folder)
    except OSError as error:
        return str(error)
    return None


def _load_plugins(path: Path | None) -> None:
    if path is None:
        return
    from simo_cl.harness.plugins import load_plugins

    load_plugins(path)


def _command() -> str:
    from simo_cl.tracking.redact import without_secrets

    return shlex.join(["simo-cl", *map(without_secrets, sys.argv[1:])])


def _sync_command(folder: Path, tracking_uri: str | None) -> str:
    from simo_cl.tracking.redact import without_secrets

    words = ["simo-cl", "sync", str(folder)]
    if tracking_uri is not None:
        words += ["--tracking-uri", without_secrets(tracking_uri)]
    return shlex.join(words)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "110")))


def _tell(console: Console, message: str, style: str | None = None) -> None:
    """Prints text as it is: paths and messages may have what rich reads as markup."""
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Prints the user's errors as a message; a traceback is for ours."""
    from simo_cl.harness.suite_file import SuiteError
    from simo_cl.streams.data_set import DataError

    # Avalanche imports a solver chooser on its way, which says that there is no solver; only GEM
    # would need one.
    warnings.filterwarnings("ignore", message="no QP solver found")
    # In the processes that this one begins, too.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:no QP solver found")
    # Avalanche's replay plugins call a method that Avalanche 0.7 will drop; we require 0.6.
    warnings.filterwarnings("ignore", message="Call to deprecated function update")
    try:
        yield
    except (DataError, SuiteError, OSError) as error:
        _fail(str(error))
    except Exception as error:
        from simo_cl.report.load import ReportError
        from simo_cl.tracking.store import TrackingError

        if isinstance(error, (ReportError, TrackingError)):
            _fail(str(error))
        raise


def _fail(message: str) -> NoReturn:
    from simo_cl.tracking.redact import without_secrets

    typer.echo(f"Error: {without_secrets(message)}", err=True)
    raise typer.Exit(2)


@contextmanager
def _interruptible(console: Console) -> Iterator[None]:
    """Ends a command that is asked to stop with how to go on, and the status that shells expect."""
    asked = signal.SIGINT

    def stop(number: int, _: object) -> NoReturn:
        nonlocal asked
        asked = signal.Signals(number)
        raise KeyboardInterrupt

    # What a machine sends before it is taken away.
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        _tell(
            console,
            "\nInterrupted. What is finished is kept; the same command goes on from there:\n  "
            + _command(),
        )
        raise typer.Exit(128 + asked) from None
    finally:
        signal.signal(signal.SIGTERM, before)
