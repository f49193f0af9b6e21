"""Execute a suite's runs, whatever happens to any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

import simo_cl
from simo_cl.harness.attempt import RunsListener, attempt
from simo_cl.harness.checkpoint import Checkpoints
from simo_cl.harness.claimed_runs import claimed_runs
from simo_cl.harness.cluster import Cluster, execute_on_cluster
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import Suite
from simo_cl.harness.user_files import UserFile
from simo_cl.harness.workers import default_jobs, execute_in_workers
from simo_cl.results import PLAN, Plan, PlanEntry, RunFolder, examine
from simo_cl.streams import DataError, DataSet


def execute_runs(
    runs: Sequence[PlannedRun],
    folder: Path,
    *,
    data: DataSet,
    device: torch.device,
    progress: SuiteProgress,
    jobs: int | None = 1,
    cluster: Cluster | None = None,
    claims: Path | None = None,
    plugins: UserFile | None = None,
) -> dict[str, str]:
    """Executes what is missing or unfinished.

    Args:
        runs: to execute; finished ones are skipped.
        folder: that the run folders are relative to.
        data: from :func:`simo_cl.harness.checked_data.checked_data`.
        device: to train on; with several jobs, "cuda" is every GPU in turn.
        progress: told of every step.
        jobs: runs at once; with 1, in this process. None: see :func:`default_jobs`.
        cluster: where runs are executed, instead of on this machine.
        claims: folder for the locks of commands that share the runs, each of which executes one at
            a time; see :func:`claimed_runs`.
        plugins: a file that other processes import first.

    Returns:
        A run's name to why it failed, in the order of the plan.
    """
    unfinished: list[PlannedRun] = []
    damaged: list[str] = []
    for run in runs:
        state, damage, _ = examine(folder / run.folder)
        if state == "finished":
            # One that was killed as soon as it had finished.
            Checkpoints(folder / run.folder).remove()
            continue
        unfinished.append(run)
        if damage:
            damaged.append(f"{run.name}: {damage}; it is executed again")
    progress.begin(unfinished, finished=len(runs) - len(unfinished))
    for text in damaged:
        progress.warn(text)
    if jobs is None:
        jobs = default_jobs(unfinished, device)
    failed: dict[str, str] = {}
    listener = partial(_note, failed, folder, progress)
    options: dict[str, Any] = {"folder": folder, "data": data, "listener": listener}
    if claims is not None:
        with closing(claimed_runs(unfinished, folder, claims, listener)) as mine:
            _execute_here(mine, device=device, **options)
    elif cluster is not None and unfinished:
        execute_on_cluster(unfinished, cluster, plugins=plugins, **options)
    elif jobs > 1 and len(unfinished) > 1:
        execute_in_workers(unfinished, jobs, device=device, plugins=plugins, **options)
    else:
        _execute_here(unfinished, device=device, **options)
    return {run.name: failed[run.name] for run in unfinished if run.name in failed}


def _execute_here(
    runs: Iterable[PlannedRun],
    folder: Path,
    data: DataSet,
    device: torch.device,
    listener: RunsListener,
) -> None:
    for run in runs:
        listener(run, "begins")
        listener(run, "ended", attempt(run, folder, data, device, partial(listener, run)))


def _note(
    failed: dict[str, str],
    folder: Path,
    progress: SuiteProgress,
    run: PlannedRun,
    kind: str,
    *content: Any,
) -> None:
    """Hears of a run, shows it, and keeps why it failed."""
    run_folder = RunFolder(folder / run.folder)
    if kind == "lost":
        # On a full disk the reason is told all the same.
        with suppress(OSError):
            run_folder.fail(RuntimeError(*content))
    match kind, content:
        case "begins", _:
            progress.run_begins(run, *content)
        case "step", _:
            progress.step(run, *content)
        case "restarts", _:
            progress.run_restarts(run, *content)
        case "warning", _:
            progress.warn(*content)
        case "ended elsewhere", (None,):
            progress.run_ended_elsewhere(run, "finished")
        case "ended elsewhere", (reason,):
            failed[run.name] = f"in another command: {reason}"
            progress.run_ended_elsewhere(run, "failed")
        case "ended", (None,):
            progress.run_ends(run, run_folder.last_metrics())
        case "ended" | "lost", (reason,):
            failed[run.name] = reason
            progress.run_failed(run, reason)
        case _:
            raise ValueError(f"a run says {kind!r} with {content}, which nobody understands")


def write_plan(
    folder: Path, suite: Suite, planned: Sequence[PlannedRun], *, command: str, data: DataSet
) -> None:
    """Writes ``plan.json``: what the suite is, and which runs belong to it now.

    Raises:
        DataError: one of them is of other data.
    """
    refuse_other_data(planned, folder, data)
    folder.mkdir(parents=True, exist_ok=True)
    Plan(
        suite=suite.name,
        description=suite.description,
        control=suite.control,
        data=data.note,
        class_names=data.class_names,
        command=command,
        version=simo_cl.__version__,
        runs=tuple(
            PlanEntry(
                strategy=run.settings.entry,
                built_by=run.settings.strategy,
                variant=run.variant,
                seed=run.settings.seed,
                folder=run.folder.as_posix(),
            )
            for run in planned
        ),
    ).write(folder / PLAN)


def refuse_other_data(runs: Iterable[PlannedRun], folder: Path, data: DataSet) -> None:
    """Looks whether work that would be kept was done on the data that are found now.

    Args:
        runs: whose folders are looked at.
        folder: that these are relative to.
        data: found now.

    Raises:
        DataError: a run was finished, or left with a checkpoint, on other data.
    """
    for run in runs:
        there = RunFolder(folder / run.folder)
        before = there.data
        kept = there.state == "finished" or any(there.path.glob("checkpoint*.pt"))
        if kept and before.digest not in ("", data.digest):
            raise DataError(
                f"{there.path} is of other data ({before.note}, {before.digest}) than those "
                f"found now ({data.note}, {data.digest}); one table of both would be of neither. "
                "Bring the data back, or write to another folder with --results, or delete the "
                "folders of runs on other data"
            )
