"""Make MLflow show a suite's run folders.

The folders are the truth and MLflow is a view of them: `mirror` may be called at any time, any
number of times, and after a lost store it rebuilds everything.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.tracking import artifacts, store
from simo_cl.tracking.run_folders import RunFolder, Suite, read_suite
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.view import VIEW_TAG, comparison_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

__all__ = ["MirrorReport", "TrackingError", "mirror"]

# A run's identity in the store, and how much of it is already there.
RUN_TAG = "simo_cl.run"
ORIGIN_TAG = "simo_cl.origin"
LOGGED_TAG = "simo_cl.logged"
ARTIFACTS_TAG = "simo_cl.artifacts"
# MLflow's own, which its UI writes when the user picks another colour.
COLOUR_TAG = "mlflow.runColor"
NOTE_TAG = "mlflow.note.content"

_FAILED = "Failed: "
_MLFLOW_STATE = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}


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


def mirror(suite_folder: Path, tracking_uri: str | None = None) -> MirrorReport:
    """Makes the suite's MLflow experiment equal to the runs of its current plan.

    One experiment a suite; one parent run a strategy (or variant), with the means over the seeds
    finished so far; under it one child run a seed, with its settings as parameters, its metrics
    with their times and the last trained experience as step, and its configuration, log, tables
    and figures as artifacts. Runs that have left the plan go to MLflow's trash; runs that another
    suite folder or another user put into the same experiment are left alone.

    Args:
        suite_folder: ``results/<suite>``, with its ``plan.json``.
        tracking_uri: any MLflow store; by default ``MLFLOW_TRACKING_URI`` or, without it,
            ``mlflow.db`` in the suite's folder with the artifacts in ``mlartifacts`` beside it.

    Raises:
        TrackingError: the store does not answer, within about ten seconds, or refuses.
        FileNotFoundError: the folder holds no plan.json.
    """
    store.without_telemetry()
    suite_folder = Path(suite_folder).resolve()
    problems: list[str] = []
    suite = read_suite(suite_folder, problems)
    uri = store.suite_store(suite_folder, tracking_uri)
    client = store.open_client(uri)
    with store.quick_requests(), store.tracking_errors(uri):
        return _Mirror(client, uri, suite, problems).bring_up_to_date()


@dataclass(frozen=True)
class _Content:
    """What one MLflow run must show."""

    identity: str
    name: str
    colour: str
    parameters: dict[str, str]
    tags: dict[str, str]
    blocks: list[list[Metric]]  # in the order logged; a store that holds the first n needs the rest
    state: str
    started: float
    ended: float | None
    artifacts: str  # fingerprint
    write_artifacts: Callable[[Path], None]


class _Mirror:
    def __init__(self, client: MlflowClient, uri: str, suite: Suite, problems: list[str]) -> None:
        self.client = client
        self.uri = uri
        self.suite = suite
        self.problems = problems
        self.origin = _origin(suite, uri)
        self.written = 0
        self.removed = 0

    def bring_up_to_date(self) -> MirrorReport:
        self.experiment_id = self._experiment()
        known = self._known_runs()
        colours = _colours(self.suite)
        members: dict[str, list[RunFolder]] = defaultdict(list)
        for run in self.suite.runs:
            members[run.label].append(run)
        kept = set()
        for label, runs in members.items():
            parent = _parent_content(self.suite, label, colours[label], runs, self.problems)
            parent_id = self._write(parent, known.get(parent.identity, []))
            kept.add(parent_id)
            for run in runs:
                child = _child_content(self.suite, run, colours[label], parent_id, self.problems)
                kept.add(self._write(child, known.get(child.identity, [])))
        for old in (run for runs in known.values() for run in runs):
            if old.info.run_id not in kept:
                self.client.delete_run(old.info.run_id)
                self.removed += 1
        return MirrorReport(
            self.uri, self.experiment_id, len(members), len(self.suite.runs),
            self.written, self.removed, tuple(dict.fromkeys(self.problems)),
        )  # fmt: skip

    def _experiment(self) -> str:
        """The suite's experiment, with its description and the view of it that the UI opens."""
        place = None
        if store.is_own_store(self.suite.path, self.uri):
            place = (self.suite.path / "mlartifacts").as_uri()
        experiment_id = store.experiment_id(self.client, self.suite.name, place)
        known = self.client.get_experiment(experiment_id).tags
        metrics = {name for run in self.suite.runs for line in run.lines for name in line.metrics}
        tags = {
            NOTE_TAG: _description(self.suite),
            VIEW_TAG: comparison_view(store.accepted_name(name) for name in metrics),
        }
        for name, text in tags.items():
            if known.get(name) != text:
                self.client.set_experiment_tag(experiment_id, name, text)
        return experiment_id

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

    def _write(self, content: _Content, known: Sequence[Run]) -> str:
        """Brings one run up to date and returns its MLflow identifier.

        MLflow keeps every value ever logged and no parameter can be changed, so a run that holds
        anything else than the beginning of `content` is replaced, not extended.
        """
        run = next((run for run in known if _is_beginning(run, content)), None)
        tags = {**content.tags, RUN_TAG: content.identity, ORIGIN_TAG: self.origin}
        if run is None:
            tags |= _of_the_user(known)
            run = self.client.create_run(
                self.experiment_id,
                start_time=_milliseconds(content.started),
                tags=tags,
                run_name=content.name,
            )
        run_id = str(run.info.run_id)
        changed = self._write_data(run, content, tags)
        changed |= self._write_artifacts(run, content)
        changed |= self._write_state(run, content)
        self.written += changed
        return run_id

    def _write_data(self, run: Run, content: _Content, tags: dict[str, str]) -> bool:
        from mlflow.entities import Param, RunTag

        tags = {
            COLOUR_TAG: run.data.tags.get(COLOUR_TAG, content.colour),
            **tags,
            LOGGED_TAG: _logged(content.blocks),
        }
        new_tags = {name: text for name, text in tags.items() if run.data.tags.get(name) != text}
        new_parameters = content.parameters.keys() - run.data.params.keys()
        logged = _blocks_logged(run)
        store.log_all(
            self.client,
            run.info.run_id,
            metrics=[metric for block in content.blocks[logged:] for metric in block],
            parameters=[Param(name, content.parameters[name]) for name in sorted(new_parameters)],
            # Last: until they are there, what has been logged is logged again, to no effect.
            tags=[RunTag(name, text) for name, text in new_tags.items()],
        )
        return bool(new_tags or new_parameters)

    def _write_artifacts(self, run: Run, content: _Content) -> bool:
        fingerprint = _digest(content.artifacts)
        if run.data.tags.get(ARTIFACTS_TAG) == fingerprint:
            return False
        with tempfile.TemporaryDirectory() as folder:
            content.write_artifacts(Path(folder))
            if any(Path(folder).iterdir()):
                self.client.log_artifacts(run.info.run_id, folder)
        self.client.set_tag(run.info.run_id, ARTIFACTS_TAG, fingerprint)
        return True

    def _write_state(self, run: Run, content: _Content) -> bool:
        state = _MLFLOW_STATE.get(content.state, "RUNNING")
        ended = None if content.ended is None else _milliseconds(content.ended)
        if run.info.status == state and run.info.end_time == ended:
            return False
        if ended is None:
            self.client.update_run(run.info.run_id, status=state)
        else:
            self.client.set_terminated(run.info.run_id, state, end_time=ended)
        return True


def _child_content(
    suite: Suite, run: RunFolder, colour: str, parent_id: str, problems: list[str]
) -> _Content:
    tags = {
        "mlflow.parentRunId": parent_id,
        **_common_tags(suite, run.label),
        **{
            f"environment.{name}": str(value)
            for name, value in run.status.get("environment", {}).items()
        },
    }
    error = run.status.get("error")
    if error:
        tags["error"] = f"{error.get('type')}: {error.get('message')}"[: store.VALUE_LENGTH]
        tags[NOTE_TAG] = f"{_FAILED}{tags['error']} (error.txt, log.txt)"
    return _Content(
        identity=run.name,
        name=f"{run.label} seed {run.seed}",
        colour=colour,
        parameters=store.flat_parameters(run.settings),
        tags=tags,
        blocks=[
            _block(line.experience, line.time, line.metrics, run.name, problems)
            for line in run.lines
        ],
        state=run.state,
        started=float(run.status["started"]),
        ended=run.status.get("ended"),
        artifacts=artifacts.fingerprint([run]),
        write_artifacts=lambda to: artifacts.write_run_artifacts(run, to, problems),
    )


def _parent_content(
    suite: Suite, label: str, colour: str, runs: Sequence[RunFolder], problems: list[str]
) -> _Content:
    """A strategy over its seeds: what their settings share, and the means of the finished ones."""
    finished = [run for run in runs if run.state == "finished"]
    ended = [run.status.get("ended") or 0.0 for run in runs]
    state = _parent_state(runs, suite.planned[label])
    return _Content(
        identity=label,
        name=label,
        colour=colour,
        parameters=_shared_parameters(runs),
        tags={
            **_common_tags(suite, label),
            "seeds finished": f"{len(finished)} of {suite.planned[label]}",
            **({"control": "true"} if suite.plan.get("control") == label else {}),
        },
        blocks=_mean_blocks(finished, label, problems),
        state=state,
        started=min(float(run.status["started"]) for run in runs),
        ended=None if state == "running" else max(ended),
        artifacts=artifacts.fingerprint(finished),
        write_artifacts=lambda to: artifacts.write_mean_artifacts(label, finished, to, problems),
    )


def _parent_state(runs: Sequence[RunFolder], planned: int) -> str:
    states = [run.state for run in runs]
    if "running" in states or len(states) < planned:
        return "running"
    return "failed" if "failed" in states else "finished"


def _shared_parameters(runs: Sequence[RunFolder]) -> dict[str, str]:
    """What all seeds have in common; the seed itself is not, even when there is one only."""
    each = [store.flat_parameters(run.settings) for run in runs]
    first = {name: text for name, text in each[0].items() if name != "seed"}
    return {name: text for name, text in first.items() if all(p.get(name) == text for p in each)}


def _mean_blocks(runs: Sequence[RunFolder], label: str, problems: list[str]) -> list[list[Metric]]:
    """The mean over the runs of each metric after each experience.

    Stamped with the latest time that went in, so that the same runs always give the same rows.
    """
    lines = defaultdict(list)
    for run in runs:
        for line in run.lines:
            lines[line.experience].append(line)
    blocks = []
    for experience, measured in sorted(lines.items()):
        values: dict[str, list[float]] = defaultdict(list)
        for line in measured:
            for name, value in line.metrics.items():
                values[name].append(value)
        means = {name: math.fsum(each) / len(each) for name, each in values.items()}
        latest = max(line.time for line in measured)
        blocks.append(_block(experience, latest, means, label, problems))
    return blocks


def _block(
    experience: int, time: float, metrics: dict[str, float], where: str, problems: list[str]
) -> list[Metric]:
    """MLflow's rows for one experience, without what would empty its charts."""
    from mlflow.entities import Metric

    rows = []
    for name, value in sorted(metrics.items()):
        if isinstance(value, (int, float)) and math.isfinite(value):
            rows.append(
                Metric(store.accepted_name(name), float(value), _milliseconds(time), experience)
            )
        else:
            problems.append(f"{where}: {name} is {value} after experience {experience}; left out")
    return rows


def _is_beginning(run: Run, content: _Content) -> bool:
    """Whether what the store has of a run is unchanged in the folders, as far as it goes."""
    logged = _blocks_logged(run)
    same_parameters = all(
        content.parameters.get(name) == text for name, text in run.data.params.items()
    )
    return (
        same_parameters
        and logged <= len(content.blocks)
        and run.data.tags.get(LOGGED_TAG, _logged([])) == _logged(content.blocks[:logged])
        and run.info.start_time == _milliseconds(content.started)
        and not (run.info.end_time is not None and content.ended is None)
    )


def _logged(blocks: Sequence[Sequence[Metric]]) -> str:
    """How many blocks the store holds, and what was in them."""
    rows = [[(m.key, m.step, m.timestamp, m.value) for m in block] for block in blocks]
    return f"{len(blocks)}:{_digest(json.dumps(rows))}"


def _blocks_logged(run: Run) -> int:
    return int(run.data.tags.get(LOGGED_TAG, "0:").split(":")[0])


def _of_the_user(replaced: Sequence[Run]) -> dict[str, str]:
    """The tags, description and colour that the user gave to a run about to be replaced."""
    tags = dict(replaced[0].data.tags) if replaced else {}
    ours = {"strategy", "seeds finished", "control", "error"}
    prefixes = ("mlflow.", "simo_cl.", "environment.")
    kept = {n: text for n, text in tags.items() if n not in ours and not n.startswith(prefixes)}
    if COLOUR_TAG in tags:
        kept[COLOUR_TAG] = tags[COLOUR_TAG]
    if not tags.get(NOTE_TAG, _FAILED).startswith(_FAILED):
        kept[NOTE_TAG] = tags[NOTE_TAG]
    return kept


def _colours(suite: Suite) -> dict[str, str]:
    """Each label's colour: the report's, so that a strategy looks the same in both."""
    from simo_cl.report import load, palette

    runs = [
        load.Run(entry["strategy"], entry.get("variant", ""), entry["seed"], suite.path, "missing")
        for entry in suite.plan["runs"]
    ]
    planned = load.Suite(suite.path, suite.name, "", None, "", "", "", (), None, tuple(runs))
    return {label: look.colour for label, look in palette.looks(planned).items()}


def _common_tags(suite: Suite, label: str) -> dict[str, str]:
    return {
        "strategy": label,
        "mlflow.user": _user(),
        "mlflow.source.name": str(suite.plan.get("command", "simo-cl run")),
        "mlflow.source.type": "LOCAL",
    }


def _origin(suite: Suite, uri: str) -> str:
    """Tells this folder's runs from those that others put into an experiment of the same name.

    A suite's own store has one origin only, so the folder may move with it.
    """
    if store.is_own_store(suite.path, uri):
        return "this folder"
    return _digest(f"{_user()}:{suite.path}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "unknown"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _milliseconds(seconds: float) -> int:
    return int(float(seconds) * 1000)


def _description(suite: Suite) -> str:
    plan = suite.plan
    control = plan.get("control")
    return f"""{plan.get("description", "")}

Data: {plan.get("data", "unknown")}. Made by `{plan.get("command", "")}`, \
simo-cl {plan.get("version", "")}.{f" Control: {control}." if control else ""}

Each top-level run is a strategy, with the **mean over the seeds finished so far**; the runs under
it are the seeds. The step is the last trained experience, counted from 0. The folder
`runs/` beside this store is the truth; this experiment is a view of it.

| metric | meaning |
|---|---|
| `average_accuracy` | mean accuracy over the experiences seen so far |
| `average_anytime_accuracy` | mean of the average accuracies up to here |
| `forgetting` | best earlier minus present accuracy, mean over earlier experiences |
| `backward_transfer` | present accuracy minus that right after learning, mean over earlier ones |
| `learning_accuracy` | accuracy on each experience right after training on it, mean |
| `min_accuracy`, `worst_case_accuracy` | the least accuracy on earlier experiences, and its mix \
with the present one |
| `new_class_accuracy`, `old_class_accuracy` | on the newest experience's classes, on all earlier |
| `ncm_memory/...`, `ncm_oracle/...`, `linear_probe/...`, `knn/...` | the same with other \
read-outs; the oracle one, the probe and k-NN see training images of all seen classes |
| `features/...`, `embedding/...` | geometry of the encoder's features and of the loss space; \
`..._centred` after subtracting the global mean |
| `.../orthogonality/mean_abs_cos`, `rms_cos`, `coherence` | mean, root mean square, maximum of \
the absolute cosine between class means |
| `.../neighbourhood/ratio` | squared distance within classes over that between them |
| `.../neighbourhood/antipodal_share` | share of same-class pairs more than 90 degrees apart |
| `.../collapse/effective_rank` | exponential of the entropy of the singular values |
| `.../drift/class_mean` | 1 minus the cosine of an old class's mean now and when learnt |
| `cost/...`, `train/loss` | steps, images and seconds so far; mean training loss |
"""
