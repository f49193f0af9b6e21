"""Make MLflow show a suite's run folders.

The folders are the truth and MLflow is a view of them: `mirror` may be called at any time, any
number of times, and after a lost store it rebuilds everything.
"""

from __future__ import annotations

import contextlib
import getpass
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from simo_cl.results import Run as RunOnDisk
from simo_cl.results import Suite, read_plan, read_suite
from simo_cl.results.styles import styles
from simo_cl.tracking import description, store
from simo_cl.tracking.content import Content, seed_content, started_runs, strategy_content
from simo_cl.tracking.damage import damage, set_aside
from simo_cl.tracking.logged_model import delete_models
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import NOTE_TAG, TrackingError
from simo_cl.tracking.view import VIEW_TAG, comparison_view
from simo_cl.tracking.write_run import COLOUR_TAG, RUN_TAG, lacks_files, write_files, write_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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
    tell_left: Callable[[int], None] | None = None,
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
        tell_left: told, once all numbers and states are there, how many entries, strategies and
            runs, lack files; and again after each of them.

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
        begun = started_runs(suite, problems)
        file = store.own_file(suite_folder)
        if store.is_own_store(suite_folder, uri) and (found := damage(file)) is not None:
            problems.append(
                f"{file} was damaged ({found}); it is now {set_aside(file).name}, and a new one "
                "has been made from the run folders"
            )
        try:
            client = store.open_client(uri)
            with store.quick_requests(store.REQUEST_SECONDS), store.tracking_errors(uri):
                writing = _Mirror(client, uri, suite, begun, problems)
                writing.write_data()
                writing.write_files(tell_left or (lambda left: None))
                return writing.report()
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
        begun: Sequence[RunOnDisk],
        problems: list[str],
    ) -> None:
        self.client = client
        self.uri = uri
        self.suite = suite
        self.problems = problems
        self.origin = _origin(suite, uri)
        # The report's, so that a strategy looks the same in both.
        self.colours = {label: style.colour for label, style in styles(suite).items()}
        self.begun: dict[str, list[RunOnDisk]] = defaultdict(list)
        for run in begun:
            self.begun[run.label].append(run)
        self.experiment_id = store.experiment_id(client, suite.plan.suite)
        self.shown: set[str] = set()
        self.written: set[str] = set()
        self.removed = 0
        self.without_files: list[tuple[Run, Content]] = []

    def report(self) -> MirrorReport:
        children = sum(map(len, self.begun.values()))
        return MirrorReport(
            self.uri, self.experiment_id, len(self.begun), children,
            len(self.written), self.removed, tuple(dict.fromkeys(self.problems)),
        )  # fmt: skip

    def write_data(self) -> None:
        """All but files: their place may be slow, or away while the store takes the rest."""
        known = self._known_runs()
        control = ""
        for label, runs in self.begun.items():
            parent = self._write(strategy_content(self.suite, label, runs, self.problems), known)
            for run in runs:
                self._write(seed_content(self.suite, run, self.problems), known, parent)
            if label == self.suite.control:
                control = parent
        for old in (run for runs in known.values() for run in runs):
            if old.info.run_id not in self.shown:
                delete_models(self.client, old)
                self.client.delete_run(old.info.run_id)
                self.removed += 1
        self._describe_experiment(control)

    def write_files(self, tell_left: Callable[[int], None]) -> None:
        """Artifacts and models, as far as their place can be used.

        Raises:
            TrackingError: it cannot.
        """
        left = len(self.without_files)
        tell_left(left)
        reason, place = "", ""
        for run, content in self.without_files:
            began = time.monotonic()
            try:
                write_files(self.client, run, content)
                self.written.add(str(run.info.run_id))
                left -= 1
                tell_left(left)
            except store.FilesError as error:
                if not reason:
                    reason, place = str(error), without_secrets(run.info.artifact_uri)
                if time.monotonic() - began > store.ANSWER_SECONDS:
                    break  # each of the others would take as long
        if reason:
            raise TrackingError(
                f"{without_secrets(self.uri)} has all settings, numbers and states, but not the "
                f"files of {left} entries: {place} cannot be used ({reason}). They lie in the run "
                "folders."
            )

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

    def _write(self, content: Content, known: dict[str, list[Run]], parent: str = "") -> str:
        """Everything but files of a strategy, or of a seed under its strategy's run."""
        tags = {
            COLOUR_TAG: self.colours[content.tags["strategy"]],
            "mlflow.user": _user(),
            "mlflow.source.name": f"simo-cl {self.suite.plan.version}".strip(),
            "mlflow.source.type": "LOCAL",
            ORIGIN_TAG: self.origin,
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        there = known.get(content.identity, [])
        run, changed = write_run(self.client, self.experiment_id, content, there, tags)
        run_id = str(run.info.run_id)
        self.shown.add(run_id)
        if changed:
            self.written.add(run_id)
        if lacks_files(run, content):
            # All numbers of a large suite would fill the memory; its model shows the last.
            self.without_files.append((run, replace(content, blocks=content.blocks[-1:])))
        return run_id

    def _describe_experiment(self, control_id: str) -> None:
        """Writes the experiment's description and the view of it that the UI opens."""
        known = self.client.get_experiment(self.experiment_id).tags
        runs = (run for runs in self.begun.values() for run in runs)
        metrics = {store.accepted_name(n) for run in runs for m in run.history for n in m.values}
        tags = {
            NOTE_TAG: description.of_a_suite(self.suite),
            VIEW_TAG: comparison_view(metrics, control_id),
        }
        for name, text in tags.items():
            if known.get(name) != text:
                self.client.set_experiment_tag(self.experiment_id, name, text)


@contextlib.contextmanager
def _one_at_a_time(suite_folder: Path, seconds: float) -> Iterator[None]:
    lock = FileLock(suite_folder / "mlflow.lock", timeout=seconds)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise TrackingError(
            f"another command has been writing this suite's runs to MLflow for {seconds:.0f} s (it "
            f"holds {lock.lock_file}). It brings MLflow up to date itself; to see to it here, try "
            "again when it has ended"
        ) from error
    with held:
        yield


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
