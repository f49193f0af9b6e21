"""Run a suite, show it in MLflow as it goes, and write its report."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from dataclasses import replace as with_changes
from functools import partial
from multiprocessing import current_process
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from simo_cl.analysis import Results, load_results
from simo_cl.child_process import import_ahead
from simo_cl.harness.earlier_results import belonging, listed_in_plan, refuse_to_replace
from simo_cl.harness.plan import PlannedRun, plan_runs, refuse_seeds_of_tuning
from simo_cl.harness.plugins import digest_of_plugins, load_plugins
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.quick_checks import read_checked
from simo_cl.harness.settings import Suite
from simo_cl.harness.strategy_files import strategy_names
from simo_cl.harness.suite_file import SuiteError, SuiteFile, as_yaml, plain
from simo_cl.harness.suite_lock import Membership, shared_folder, sharing, suite_lock
from simo_cl.harness.terminal import tell
from simo_cl.harness.user_files import UserFile
from simo_cl.registry import did_you_mean
from simo_cl.results import read_status, refuse_without_runs
from simo_cl.tracking.follow import Follower
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import refuse_unusable, suite_store

if TYPE_CHECKING:
    import torch

    from simo_cl.harness.cluster import Cluster
    from simo_cl.streams import DataSet

Overrides = Mapping[str, Any] | Sequence[str]


def run_suite(
    path: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    strategies: Sequence[str] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    overrides: Overrides = (),
    results: str | Path = "results",
    data_root: str | Path | None = None,
    strategies_dir: str | Path | None = None,
    plugins: str | Path | None = None,
    tracking_uri: str | None = None,
    ray: str | None = None,
    ray_shared: bool = False,
    shared: bool = False,
    replace: bool = False,
    console: Console | None = None,
    command: str | None = None,
) -> Results:
    """Runs what is missing or unfinished of a suite, shows it in MLflow as it goes, and writes its
    report: what ``simo-cl run`` does.

    A script calls it under ``if __name__ == "__main__":``, because it starts processes.

    Args:
        path: of the suite file.
        seeds: instead of the suite's.
        strategies: of the suite's, only these.
        jobs: runs at once, in processes; by default as many as have a core for each of their
            threads, and one on a GPU.
        device: "auto", "cpu", "cuda" or "cuda:<number>".
        overrides: settings by key, as ``{"training.epochs": 1, "simo@epsilon": 0.2}``, or as
            ``--set`` takes them.
        results: where suites have their folders.
        data_root: where the data lie; by default ``$SIMO_CL_DATA``, or ``data``.
        strategies_dir: with the strategy files; by default beside the suite's folder.
        plugins: a Python file that registers parts of your own (:mod:`simo_cl.register`).
        tracking_uri: of MLflow's store; by default ``$MLFLOW_TRACKING_URI``, or a file of the
            suite's own.
        ray: address of a Ray cluster to run on.
        ray_shared: whether the results folder has the same path on every node of it.
        shared: take those runs that no other command with this is at, on whatever machine.
        replace: show what the present settings give in place of finished runs with others.
        console: to print to.
        command: by which the plan says that the suite was run; by default, the command line that
            does the same.

    Returns:
        The results. Whatever happened to a run is in its row; what failed now is in ``problems``.

    Raises:
        SuiteError: something in the suite or in these arguments cannot be run; nothing is written.
        simo_cl.streams.DataError: the data are not there, or not what they were.

    Example:
        >>> results = simo_cl.run_suite("tiny.yaml", seeds=[0])  # doctest: +SKIP
        [1/1] finetune, seed 0 ...
        >>> results.runs[["strategy", "seed", "state"]]  # doctest: +SKIP
           strategy  seed     state
        0  finetune     0  finished
    """
    # While multiprocessing has this process, which began there, import the script again.
    if getattr(current_process(), "_inheriting", False):
        raise SuiteError(
            "run_suite was called again, by a process that it had begun and that imports the same "
            'script; put the call under `if __name__ == "__main__":`'
        )
    options = dict(locals())  # by the names that Request has for them
    del options["console"], options["command"]
    request = Request(**options)
    return request.run(console or Console(), command or request.command_line())


@dataclass(frozen=True)
class Request:
    """A suite that is asked for; :func:`run_suite` explains the attributes."""

    path: str | Path
    seeds: Sequence[int] | None = None
    strategies: Sequence[str] | None = None
    jobs: int | None = None
    device: str = "auto"
    overrides: Overrides = ()
    results: str | Path = "results"
    data_root: str | Path | None = None
    strategies_dir: str | Path | None = None
    plugins: str | Path | None = None
    tracking_uri: str | None = None
    ray: str | None = None
    ray_shared: bool = False
    shared: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        if self.seeds is not None:
            object.__setattr__(self, "seeds", _different(self.seeds))

    def preview(self, console: Console) -> None:
        """Prints what would run, and about how long it would take; nothing is written.

        Raises:
            SuiteError: as `run` does.
        """
        asked = self._checked(console)
        from simo_cl.harness.preview import preview_table

        say = partial(tell, console)
        chosen, folder = asked.chosen, asked.folder
        console.print(
            preview_table(chosen, folder, asked.data, asked.device, jobs=self.jobs, tell=say)
        )
        self._kept(asked)

    def smoke(self, console: Console) -> dict[str, str]:
        """Tries each strategy for a few steps on a few images, and prints how it went.

        Returns:
            Why each that failed did. Their folders are kept, and nothing else.

        Raises:
            SuiteError: as `run` does, or a cluster is asked for.
        """
        if self.ray is not None:
            raise SuiteError("--smoke tries the strategies on this machine; leave --ray out")
        asked = self._checked(console)
        from simo_cl.harness.smoke import smoke

        return smoke(asked.chosen, asked.data, asked.device, partial(tell, console))

    def run(self, console: Console, command: str) -> Results:
        """Runs what is missing, and writes the report; of several that share the runs, the last one
        does."""
        asked = self._checked(console, workers_follow=True)
        from simo_cl.harness.execute_suite import execute_runs

        lock_file, say = asked.folder / "suite.lock", partial(tell, console)
        lock = partial(suite_lock, lock_file, command, say, shares=self.shared)

        def execute(claims: Path | None = None) -> dict[str, str]:
            with SuiteProgress(console) as progress:
                return execute_runs(
                    asked.chosen,
                    asked.folder,
                    data=asked.data,
                    device=asked.device,
                    progress=progress,
                    jobs=self.jobs,
                    cluster=asked.cluster,
                    claims=claims,
                    plugins=asked.plugins,
                )

        with lock():
            self._write_plan(asked, command, others_at_work=bool(sharing(lock_file)))
            if not self.shared:
                return self._follow_and_report(asked, console, execute)
            membership = Membership(lock_file)
        try:
            failed = execute(claims=shared_folder(lock_file) / "runs")
            with lock():
                membership.leave()
                if others := membership.others():
                    say(
                        f"The last of the commands still at work ({', '.join(others)}) writes the "
                        "report."
                    )
                    return with_changes(load_results(asked.folder), problems=failed)
                shutil.rmtree(shared_folder(lock_file))
                # Other commands may have been given other seeds.
                self._write_plan(asked, command)
                return self._follow_and_report(asked, console, lambda: failed)
        finally:
            membership.leave()

    def _write_plan(self, asked: _Asked, command: str, *, others_at_work: bool = False) -> None:
        from simo_cl.harness.execute_suite import write_plan

        kept = self._kept(asked, others_at_work=others_at_work)
        write_plan(asked.folder, asked.suite, kept, command=command, data=asked.data)

    def _follow_and_report(
        self, asked: _Asked, console: Console, execute: Callable[[], dict[str, str]]
    ) -> Results:
        folder = asked.folder
        with Follower(folder, self.tracking_uri, partial(tell, console)) as follower:
            failed = execute()
            # Leaving the Follower waits for MLflow; Ctrl-C then cuts nothing else short.
            results, unreported = _report(console, folder)
            for name, reason in failed.items():
                tell(console, f"Failed: {name}: {reason}", style="red")
        if follower.problem is not None:
            sync = ["simo-cl", "sync", str(folder)]
            if self.tracking_uri is not None:
                sync += ["--tracking-uri", without_secrets(self.tracking_uri)]
            tell(
                console,
                f"MLflow is not up to date: {follower.problem} Nothing is lost; this brings it up "
                f"to date once the server answers:\n  {shlex.join(sync)}",
                style="red",
            )
        problems = {**failed, **unreported}
        return with_changes(results or load_results(folder), problems=problems)

    def command_line(self) -> str:
        """The command line that asks for the same."""
        words = ["simo-cl", "run", str(self.path)]
        for each in fields(self)[1:]:
            value, option = getattr(self, each.name), f"--{each.name.replace('_', '-')}"
            if value == each.default:
                continue
            if each.name == "overrides":
                words += [word for setting in self._settings() for word in ("--set", setting)]
            elif value is True:
                words.append(option)
            else:
                several = each.name in ("seeds", "strategies")
                words += [option, ",".join(map(str, value)) if several else str(value)]
        return shlex.join(map(without_secrets, words))

    def _settings(self) -> list[str]:
        if not isinstance(self.overrides, Mapping):
            return list(_several("overrides", self.overrides))
        for key, value in self.overrides.items():
            if isinstance(value, Mapping) and key != "grid" and not {".", "@"} & set(key):
                inner = next(iter(value), "epochs")
                raise SuiteError(
                    f"overrides has a mapping for {key!r}, which would replace the whole section; "
                    f"give settings by their whole key, as '{key}.{inner}'"
                )
        return [
            f"{key}={as_yaml(plain(value, 'overrides'))}" for key, value in self.overrides.items()
        ]

    def _checked(self, console: Console, *, workers_follow: bool = False) -> _Asked:
        """What is asked for, once everything is found to fit that could be wrong."""
        self._refuse_contradictions()
        data_root = _path(self.data_root)
        file, folder = read_checked(
            Path(self.path),
            self._settings(),
            _path(self.strategies_dir),
            data_root,
            plugins=_path(self.plugins),
            device=self.device,
        )
        suite = file.suite
        entries = self._entries(file, folder)
        wanted = self.seeds or suite.seeds
        if suite.stream.evaluate_on == "test":
            refuse_seeds_of_tuning(wanted, "--seeds" if self.seeds else file.locations.of("seeds"))
        # The imports take seconds.
        tell(console, f"Loading the libraries and {suite.data.name} ...")
        import torch

        from simo_cl.harness.environment import choose_device
        from simo_cl.harness.precision import precision_of

        plugins = None if self.plugins is None else load_plugins(Path(self.plugins))
        device = choose_device(self.device)
        everything = suite.model_copy(
            update={"seeds": (*suite.seeds, *(s for s in wanted if s not in suite.seeds))}
        )
        planned_for = device
        if self.ray is not None:
            # Its nodes are not asked: the kind of device that runs reserve there.
            planned_for = torch.device("cuda" if suite.resources.gpus > 0 else "cpu")
        precision = precision_of(planned_for)
        digest = digest_of_plugins(plugins)
        planned = plan_runs(everything, folder, file.locations, precision, digest)
        chosen = [r for r in planned if r.settings.entry in entries and r.settings.seed in wanted]
        results = Path(self.results) / suite.name
        if workers_follow and self.ray is None and self.jobs != 1 and not self.shared:
            _import_for_workers(chosen, results, device)
        from simo_cl.harness.checked_data import checked_data
        from simo_cl.harness.cluster import Cluster

        refuse_unusable(suite_store(results, self.tracking_uri))
        data = checked_data(chosen, data_root)
        here = device if self.ray is None else None
        for warning in _warnings(chosen, data, here, self.jobs or 1):
            tell(console, f"Warning: {warning}", style="yellow")
        cluster = None
        if self.ray is not None:
            cluster = Cluster(self.ray, suite.resources, self.ray_shared)
        return _Asked(suite, planned, chosen, results, data, device, cluster, plugins)

    def _entries(self, file: SuiteFile, folder: Path) -> list[str]:
        """The suite's entries that are asked for."""
        there = list(file.suite.strategies)
        if self.strategies is None:
            return there
        names = [name.strip() for name in _several("strategies", self.strategies)]
        for name in names:
            if name not in there:
                hint = did_you_mean(name, there)
                if name in strategy_names(folder):
                    hint = f" There is a strategy {name!r}; to run it, add it under `strategies:`."
                raise SuiteError(
                    f"--strategies: {name!r} is not in {file.locations.path}, which has "
                    f"{', '.join(there)}.{hint}"
                )
        return names

    def _refuse_contradictions(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise SuiteError(f"jobs is {self.jobs}; it is the number of runs at once, from 1 on")
        several = self.jobs not in (None, 1)
        if self.shared and (several or self.ray is not None):
            raise SuiteError(
                "--shared takes neither --jobs nor --ray: each command executes one run at a time; "
                "start as many of them as runs shall be executed at once"
            )
        if self.ray is None and self.ray_shared:
            raise SuiteError("--ray-shared is about the nodes of a cluster; name one with --ray")
        if self.ray is not None and (several or self.device != "auto"):
            raise SuiteError(
                "--ray takes neither --jobs nor --device: `resources` in the suite, as {cpus: 1, "
                "gpus: 0.5}, says how many runs a node has at once, and whether they train on a GPU"
            )

    def _kept(self, asked: _Asked, *, others_at_work: bool = False) -> list[PlannedRun]:
        """The runs that the plan will list."""
        kept = belonging(asked.planned, asked.chosen, asked.folder)
        if not self.replace:
            refuse_without_runs(asked.folder)
            listed, shown = listed_in_plan(asked.folder), "report, tables and MLflow"
            refuse_to_replace(
                asked.planned, kept, asked.folder, listed, shown, others_at_work=others_at_work
            )
        return kept


@dataclass(frozen=True)
class _Asked:
    """A request with all that it is about.

    Attributes:
        planned: all runs that the suite's settings give.
        chosen: of these, the ones asked for.
        folder: of the suite's results.
    """

    suite: Suite
    planned: list[PlannedRun]
    chosen: list[PlannedRun]
    folder: Path
    data: DataSet
    device: torch.device
    cluster: Cluster | None
    plugins: UserFile | None


def report_results(console: Console, results: Results, *, pdf: bool = False) -> None:
    """Prints the table, writes the report, and prints where to see more.

    Raises:
        OSError: it cannot be written, or the folders of the runs are elsewhere.
    """
    if not results.suite.finished_runs:
        refuse_without_runs(results.suite.folder)
    console.print(results.table())
    page = _draw_report(console, results, pdf=pdf)
    tell(console, f"Report: {page}")
    if not results.suite.parts:
        tell(console, f"Compare in MLflow: simo-cl ui {shlex.quote(str(page.parent))}")


def _draw_report(console: Console, results: Results, *, pdf: bool) -> Path:
    """Writes it, and says how far it is: once, or on a terminal with every figure."""
    from simo_cl.report import write_report

    said = "Drawing the report"
    if not console.is_terminal:
        tell(console, f"{said} ...")
    with console.status(f"{said} ...") as status:
        drawn = write_report(
            results.suite,
            pdf=pdf,
            progress=lambda number, of: status.update(f"{said}: figure {number} of {of} ..."),
            tell=partial(tell, console),
        )
    if drawn.left_out:
        tell(
            console,
            f"Warning: the report is without {', '.join(drawn.left_out)}: the file that registers "
            "it was not given. What an earlier report drew stays in figures/; simo-cl report "
            f"{shlex.quote(str(drawn.page.parent))} --plugins FILE draws it anew",
            style="yellow",
        )
    return drawn.page


def _report(console: Console, folder: Path) -> tuple[Results | None, dict[str, str]]:
    """The results, and why there is no report, if there is none; a full disk, or a process that
    draws and is killed, must not hide how the runs ended."""
    results = None
    try:
        results = load_results(folder)
        report_results(console, results)
    except (OSError, BrokenExecutor) as error:
        tell(
            console,
            f"The report is not up to date: {error}. This writes it:\n"
            f"  simo-cl report {shlex.quote(str(folder))}",
            style="red",
        )
        return results, {"report": str(error)}
    return results, {}


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _several(name: str, given: Sequence[str]) -> Sequence[str]:
    if isinstance(given, str) or (name == "strategies" and not given):
        raise SuiteError(f"{name} is {given!r}; give a list of texts, as [{str(given or 'er')!r}]")
    return given


def _different(seeds: Sequence[int]) -> tuple[int, ...]:
    numbers: tuple[int, ...] = ()
    with suppress(TypeError):
        numbers = tuple(int(index(seed)) for seed in seeds)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise SuiteError(f"seeds are {seeds!r}; give different whole numbers from 0 on, as 0,1,2")
    return numbers


def _import_for_workers(chosen: list[PlannedRun], folder: Path, device: torch.device) -> None:
    """Has what takes them seconds imported beside the imports of this process."""

    def says_that_it_has_finished(run: PlannedRun) -> bool:
        # Whether its files are as they were written, execute_runs looks.
        with suppress(ValueError):
            status = read_status(folder / run.folder)
            return status is not None and status.state == "finished"
        return False

    if device.type == "cpu" and len(chosen) > 1 and not all(map(says_that_it_has_finished, chosen)):
        import_ahead("simo_cl.harness.attempt", "simo_cl.report.figures")


def _warnings(
    chosen: Sequence[PlannedRun], data: DataSet, device: torch.device | None, jobs: int
) -> Iterator[str]:
    """What the user should know before the runs begin: of a replay memory so large that nothing has
    to be left out of it, of a precision that the device has to emulate, and of more threads than
    there are cores. Of a cluster's nodes, without a device here, the last two are not known."""
    from simo_cl.harness.diagnosis import too_many_threads
    from simo_cl.harness.precision import slowness_of

    size, images = max(run.settings.memory.size for run in chosen), len(data.train)
    if size >= images:
        yield (
            f"memory.size is {size:,}, and {data.name} has {images:,} training images: the memory "
            "keeps all of them"
        )
    if device is None:
        return
    precisions = dict.fromkeys(run.settings.model.precision for run in chosen)
    problems = [slowness_of(precision, device) for precision in precisions]
    if device.type == "cpu":
        threads = max(run.settings.training.threads for run in chosen)
        problems.append(too_many_threads(threads, min(jobs, len(chosen))))
    yield from filter(None, problems)
