"""``simo-cl run``."""

from __future__ import annotations

import shlex
from concurrent.futures import BrokenExecutor
from functools import partial
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
    TrackingOption,
    device_of,
    use_plugins,
    warn_of_slow_precision,
)
from simo_cl.cli.report import write_and_show
from simo_cl.cli.terminal import given_command, make_console, tell, warn

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from simo_cl.harness.cluster import Cluster
    from simo_cl.harness.plan import PlannedRun
    from simo_cl.harness.settings import Suite


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
    replace: ReplaceOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
) -> None:
    """Run a suite: what is missing or unfinished of it. Then write its report."""
    console = make_console()
    with plain_errors(), interruptible(console):
        use_plugins(plugins)
        chosen_device = device_of(device)
        content, planned, chosen = _plan(
            suite,
            overrides,
            strategies,
            seeds,
            strategies_dir,
            device=chosen_device if ray is None else None,
        )
        folder = results / content.name
        if ray is None and not dry_run and jobs != 1:
            _import_for_workers(chosen, folder, chosen_device)
        from simo_cl.harness.earlier_results import belonging
        from simo_cl.harness.execute_suite import checked_data, execute_runs, write_plan
        from simo_cl.harness.preview import preview_table
        from simo_cl.harness.progress import SuiteProgress
        from simo_cl.harness.suite_lock import suite_lock
        from simo_cl.tracking.follow import Follower
        from simo_cl.tracking.store import refuse_unusable, suite_store

        cluster = _cluster(content, ray, ray_shared, device, jobs)
        refuse_unusable(suite_store(folder, tracking_uri))
        data = checked_data(chosen, data_root)
        if cluster is None:
            warn_of_slow_precision(chosen, chosen_device)
            if chosen_device.type == "cpu":
                _warn_of_too_many_threads(chosen, jobs or 1)
        if dry_run:
            say = partial(tell, console)
            console.print(preview_table(chosen, folder, data, chosen_device, jobs=jobs, tell=say))
            if not replace:
                _refuse_to_replace(planned, belonging(planned, chosen, folder), folder)
            return
        with suite_lock(folder / "suite.lock", given_command(), partial(tell, console)):
            kept = belonging(planned, chosen, folder)
            if not replace:
                _refuse_to_replace(planned, kept, folder)
            write_plan(folder, content, kept, command=given_command(), data=data)
            with Follower(folder, tracking_uri, partial(tell, console)) as follower:
                with SuiteProgress(console) as progress:
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
                # Leaving the Follower waits for MLflow; Ctrl-C then cuts nothing else short.
                has_report = _try_to_report(console, folder)
                for name, reason in outcome.failed.items():
                    tell(console, f"Failed: {name}: {reason}", style="red")
    if follower.problem is not None:
        tell(
            console,
            f"MLflow is not up to date: {follower.problem} Nothing is lost; this brings it up to "
            f"date once the server answers:\n  {_sync_command(folder, tracking_uri)}",
            style="red",
        )
    if outcome.failed or not has_report:
        raise typer.Exit(1)


def _plan(
    suite: Path,
    overrides: list[str] | None,
    strategies: str | None,
    seeds: str | None,
    strategies_dir: Path | None,
    device: torch.device | None,
) -> tuple[Suite, list[PlannedRun], list[PlannedRun]]:
    """The suite, all its runs, and those that were asked for.

    On a cluster, whose nodes are not asked, ``device`` is ``None``: the runs are planned for the
    kind of device that they reserve.
    """
    import torch

    from simo_cl.harness.plan import plan_runs
    from simo_cl.harness.precision import precision_of
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
    if device is None:
        device = torch.device("cuda" if content.resources.gpus > 0 else "cpu")
    folder = strategies_folder(suite, strategies_dir)
    planned = plan_runs(everything, folder, file.places, precision_of(device))
    chosen = [r for r in planned if r.settings.strategy in names and r.settings.seed in wanted]
    return content, planned, chosen


def _import_for_workers(chosen: list[PlannedRun], folder: Path, device: torch.device) -> None:
    """Has what takes them seconds imported beside the imports of this process."""
    from simo_cl.child_process import import_ahead
    from simo_cl.results import RunFolder

    waiting = (run for run in chosen if RunFolder(folder / run.folder).state != "finished")
    if device.type == "cpu" and len(chosen) > 1 and next(waiting, None):
        import_ahead("simo_cl.harness.attempt")


def _warn_of_too_many_threads(chosen: list[PlannedRun], jobs: int) -> None:
    from simo_cl.harness.diagnosis import usable_cores

    cores, at_once = usable_cores(), min(jobs, len(chosen))
    threads = max(run.settings.training.threads for run in chosen)
    if at_once * threads <= cores:
        return
    fewer = [] if threads == 1 else [f"--set training.threads={max(1, cores // at_once)}"]
    if at_once > 1:
        fewer.append(f"--jobs {max(1, cores // threads)}")
    many = f"{at_once} runs at once with " if at_once > 1 else ""
    warn(
        [
            f"{many}{threads} thread{'' if threads == 1 else 's'} each (training.threads) on "
            f"{cores} core{'' if cores == 1 else 's'}: threads that wait for each other make it "
            f"slower. Try {' or '.join(fewer)}"
        ]
    )


def _refuse_to_replace(planned: list[PlannedRun], kept: list[PlannedRun], folder: Path) -> None:
    from simo_cl.harness.earlier_results import listed_in_plan, refuse_to_replace
    from simo_cl.results import refuse_without_runs

    refuse_without_runs(folder)
    listed = listed_in_plan(folder)
    refuse_to_replace(planned, kept, folder, listed, "report, tables and MLflow")


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = (-1,)
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        fail(f"--seeds is {text!r}; give different whole numbers from 0 on, as 0,1,2")
    return seeds


def _cluster(
    suite: Suite, address: str | None, shared: bool, device: str, jobs: int | None
) -> Cluster | None:
    from simo_cl.harness.cluster import Cluster

    if address is None:
        if shared:
            fail("--ray-shared is about the nodes of a cluster; name one with --ray")
        return None
    if jobs not in (None, 1) or device != "auto":
        fail(
            "--ray takes neither --jobs nor --device: `resources` in the suite, as {cpus: 1, gpus: "
            "0.5}, says how many runs a node has at once, and whether they train on a GPU"
        )
    return Cluster(address, suite.resources, shared)


def _try_to_report(console: Console, folder: Path) -> bool:
    """Whether the report could be written; a full disk, or a process that draws and is killed, must
    not hide how the runs ended."""
    try:
        write_and_show(console, folder)
    except (OSError, BrokenExecutor) as error:
        tell(
            console,
            f"The report is not up to date: {error}. This writes it:\n"
            f"  simo-cl report {shlex.quote(str(folder))}",
            style="red",
        )
        return False
    return True


def _sync_command(folder: Path, tracking_uri: str | None) -> str:
    from simo_cl.tracking.redact import without_secrets

    words = ["simo-cl", "sync", str(folder)]
    if tracking_uri is not None:
        words += ["--tracking-uri", without_secrets(tracking_uri)]
    return shlex.join(words)
