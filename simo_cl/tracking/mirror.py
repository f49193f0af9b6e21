"""Make MLflow show a suite's run folders.

The folders are the truth and MLflow is a view of them: `mirror` may be called at any time, any
number of times, and after a lost store it rebuilds everything.
"""

from __future__ import annotations

import contextlib
import getpass
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from simo_cl.results import Run as RunOnDisk
from simo_cl.results import Suite, read_plan, read_suite
from simo_cl.results.styles import styles
from simo_cl.tracking import description, store
from simo_cl.tracking.begun_runs import begun_runs
from simo_cl.tracking.content import Content, seed_content, strategy_content
from simo_cl.tracking.damage import damage, set_aside
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import NOTE_TAG, TrackingError
from simo_cl.tracking.view import VIEW_TAG, comparison_view
from simo_cl.tracking.write_run import (
    COLOUR_TAG,
    RUN_TAG,
    delete_models,
    lacks_files,
    write_files,
    write_run,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["MirrorReport", "TrackingError", "mirror"]

ORIGIN_TAG = "mlflow.simo_cl.origin"


@dataclass(frozen=True)
class MirrorReport:
    """What `mirror` found and did.

    Attributes:
        tracking_uri: the store written to.
        experiment_id: MLflow's identifier of the suite's experiment.
        parents: number of strategies (with a begun run) in the store.
        children: number of runs in the store.
        written: how many of both were new or had changed.
        removed: how many were moved to MLflow's trash: no longer planned, or replaced.
        problems: what could not be shown, a sentence each.
    """

    tracking_uri: str
    experiment_id: str
    parents: int
    children: int
    written: int
    removed: int
    problems: tuple[str, ...]


def mirror(
    suite_folder: Path,
    tracking_uri: str | None = None,
    *,
    seconds_to_wait: float = 60.0,
    tell_left: Callable[[int], None] = lambda left: None,
) -> MirrorReport:
    """Makes the suite's MLflow experiment equal to the runs of its current plan.

    One experiment a suite; one parent run a strategy (or variant), with the means over the seeds
    finished so far; under it one child run a seed, with its settings as parameters, its metrics
    with their times and the number of experiences trained as step, its configuration, log, tables
    and figures as artifacts, and its trained encoder as a logged model. Runs that have left the
    plan go to MLflow's trash; runs that another suite folder or another user put into the same
    experiment are left alone.

    One process at a time writes: a file in the suite's folder is locked meanwhile. What is there
    already is not written again, so that what a lost connection or a killed process has left
    unfinished is finished by the next call. A damaged ``mlflow.db`` of the suite's own is renamed
    to ``mlflow.db.damaged-<n>`` and made anew.

    Args:
        suite_folder: ``results/<suite>``, with its ``plan.json``.
        tracking_uri: any MLflow store; by default ``MLFLOW_TRACKING_URI`` or, without it,
            ``mlflow.db`` in the suite's folder with the artifacts in ``mlartifacts`` beside it.
        seconds_to_wait: for another process that is writing.
        tell_left: told after each entry how many, strategies and runs, are not complete yet.

    Raises:
        TrackingError: the store does not answer, within about ten seconds, or refuses; the place
            of its files does, then all but files has been written; or another process is still
            writing.
        ResultsError: the folder holds no plan.json, or none that can be read.
    """
    store.without_telemetry()
    suite_folder = Path(suite_folder).resolve()
    read_plan(suite_folder)
    problems: list[str] = []
    uri = store.suite_store(suite_folder, tracking_uri)
    with _one_at_a_time(suite_folder, seconds_to_wait):
        # Not before: whoever held the lock may have read more.
        suite = read_suite(suite_folder)
        begun = begun_runs(suite, problems)
        if store.is_own_store(suite_folder, uri):
            _set_damaged_aside(store.own_file(suite_folder), problems)
        try:
            client = store.open_client(uri)
            with store.quick_requests(store.REQUEST_SECONDS), store.tracking_errors(uri):
                return _Mirror(client, uri, suite, begun, problems, tell_left).bring_up_to_date()
        except TrackingError as error:
            # The next call does not find a damaged file any more.
            error.problems = tuple(dict.fromkeys(problems))
            raise


class _Mirror:
    def __init__(
        self,
        client: MlflowClient,
        uri: str,
        suite: Suite,
        begun: list[RunOnDisk],
        problems: list[str],
        tell_left: Callable[[int], None],
    ) -> None:
        self.client = client
        self.uri = uri
        self.suite = suite
        self.problems = problems
        self.origin = _origin(suite, uri)
        # The report's, so that a strategy looks the same in both.
        self.colours = {label: style.colour for label, style in styles(suite).items()}
        self.tell_left = tell_left
        self.begun = begun
        self.left = len(self.begun) + len({run.label for run in self.begun})
        self.written: set[str] = set()
        self.without_files: list[tuple[Run, Callable[[], Content]]] = []
        self.removed = 0

    def bring_up_to_date(self) -> MirrorReport:
        self.experiment_id = store.experiment_id(self.client, self.suite.plan.suite)
        known = self._known_runs()
        members: dict[str, list[RunOnDisk]] = defaultdict(list)
        for run in self.begun:
            members[run.label].append(run)
        parents, children = {}, set()
        for label, runs in members.items():
            make = partial(strategy_content, self.suite, label, runs, self.problems)
            parents[label] = self._write(make, known, {})
            under = {"mlflow.parentRunId": parents[label]}
            for run in runs:
                make = partial(seed_content, self.suite, run, self.problems)
                children.add(self._write(make, known, under))
        for old in (run for runs in known.values() for run in runs):
            if old.info.run_id not in children | set(parents.values()):
                self._remove(old)
        self._describe_experiment(parents.get(self.suite.control or "", ""))
        self._write_files()
        return MirrorReport(
            self.uri, self.experiment_id, len(members), len(self.begun),
            len(self.written), self.removed, tuple(dict.fromkeys(self.problems)),
        )  # fmt: skip

    def _describe_experiment(self, control_id: str) -> None:
        """Writes the experiment's description and the view of it that the UI opens."""
        known = self.client.get_experiment(self.experiment_id).tags
        metrics = {name for run in self.begun for each in run.history for name in each.values}
        tags = {
            NOTE_TAG: description.of_a_suite(self.suite),
            VIEW_TAG: comparison_view(map(store.accepted_name, metrics), control_id),
        }
        for name, text in tags.items():
            if known.get(name) != text:
                self.client.set_experiment_tag(self.experiment_id, name, text)

    def _known_runs(self) -> dict[str, list[Run]]:
        """The runs that this suite folder put there, by identity, the newest first."""
        known: dict[str, list[Run]] = defaultdict(list)
        page: str | None = ""
        while page is not None:
            # An empty first token and an absent last one are MLflow's own convention.
            found = self.client.search_runs(
                [self.experiment_id],
                filter_string=f"tags.`{ORIGIN_TAG}` = '{self.origin}'",
                max_results=1000,
                page_token=page or None,
            )
            for run in found:
                known[run.data.tags[RUN_TAG]].append(run)
            page = found.token or None
        return known

    def _write(
        self,
        make: Callable[[], Content],
        known: Mapping[str, list[Run]],
        tags: dict[str, str],
    ) -> str:
        content = make()
        tags = {
            COLOUR_TAG: self.colours[content.tags["strategy"]],
            "mlflow.user": _user(),
            "mlflow.source.name": f"simo-cl {self.suite.plan.version}".strip(),
            "mlflow.source.type": "LOCAL",
            ORIGIN_TAG: self.origin,
            **tags,
        }
        there = known.get(content.identity, [])
        run, changed = write_run(self.client, self.experiment_id, content, there, tags)
        run_id = str(run.info.run_id)
        if changed:
            self.written.add(run_id)
        if lacks_files(run, content):
            # Made anew then: the contents of a large suite would fill the memory.
            self.without_files.append((run, make))
        else:
            self._complete()
        return run_id

    def _complete(self) -> None:
        self.left -= 1
        self.tell_left(self.left)

    def _write_files(self) -> None:
        """Last, because their place may be slow or away while the store itself takes the rest."""
        reason, place = "", ""
        for run, make in self.without_files:
            began = time.monotonic()
            try:
                write_files(self.client, run, make())
                self.written.add(str(run.info.run_id))
                self._complete()
            except store.FilesError as error:
                if not reason:
                    reason, place = str(error), without_secrets(run.info.artifact_uri)
                if time.monotonic() - began > store.ANSWER_SECONDS:
                    break  # each of the others would take as long
        if reason:
            raise TrackingError(
                f"{without_secrets(self.uri)} has all settings, numbers and states, but not the "
                f"files of {self.left} entries: {place} cannot be used ({reason}). They lie in "
                "the run folders."
            )

    def _remove(self, run: Run) -> None:
        """Moves a run, and the model it made, to MLflow's trash."""
        delete_models(self.client, run)
        self.client.delete_run(run.info.run_id)
        self.removed += 1


@contextlib.contextmanager
def _one_at_a_time(suite_folder: Path, seconds: float) -> Iterator[None]:
    lock = FileLock(suite_folder / "mlflow.lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise TrackingError(
            f"another command has been writing this suite's runs to MLflow for {seconds:.0f} s (it "
            f"holds {lock.lock_file}). It brings MLflow up to date itself; to see to it here, try "
            "again when it has ended"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _set_damaged_aside(file: Path, problems: list[str]) -> None:
    found = damage(file)
    if found is not None:
        place = set_aside(file)
        problems.append(
            f"{file} was damaged ({found}); it is now {place.name}, and a new one has been made "
            "from the run folders"
        )


def _origin(suite: Suite, uri: str) -> str:
    """Tells this folder's runs from those that others put into an experiment of the same name.

    A suite's own store has one origin only, so the folder may move with it.
    """
    if store.is_own_store(suite.folder, uri):
        return "this folder"
    return store.digest(f"{_user()}:{suite.folder}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "unknown"
