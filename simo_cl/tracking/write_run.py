"""Bring one run of a suite up to date in an MLflow store: its data and state, and its files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.tracking import store
from simo_cl.tracking.content import Content, Row
from simo_cl.tracking.logged_model import log_model
from simo_cl.tracking.store import NOTE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# A run's identity in the store, and how much of it is already there. MLflow's pages do not show
# tags that begin with its name.
RUN_TAG = "mlflow.simo_cl.run"
LOGGED_TAG = "mlflow.simo_cl.logged"
ARTIFACTS_TAG = "mlflow.simo_cl.artifacts"
MODEL_TAG = "mlflow.simo_cl.model"
DESCRIBED_TAG = "mlflow.simo_cl.described"  # a digest of our description: any other is the user's
NAMED_TAG = "mlflow.simo_cl.name"  # likewise
# MLflow's own, which its UI writes when the user picks another colour.
COLOUR_TAG = "mlflow.runColor"


def write_run(
    client: MlflowClient,
    experiment_id: str,
    content: Content,
    known: Sequence[Run],
    tags: Mapping[str, str],
) -> tuple[Run, bool]:
    """Makes a run show `content`, but for its files.

    MLflow keeps every value ever logged and no parameter can be changed, so a run that holds
    anything else than the beginning of `content` is left as it is, and another one begun.

    Args:
        client: of the store.
        experiment_id: that the run belongs to.
        content: what it must show.
        known: the runs of that identity that are there, the newest first.
        tags: to set besides those of `content`.

    Returns:
        The run as it was, and whether anything had to be written.
    """
    tags = {**content.tags, **tags, RUN_TAG: content.identity, NAMED_TAG: content.name}
    run = next((run for run in known if _is_beginning(run, content)), None)
    if run is None:
        run = client.create_run(
            experiment_id,
            start_time=store.milliseconds(content.started),
            tags=tags | _of_the_user(known),
            run_name=content.name,
        )
    parts = [
        _write_data(client, run, content, tags),
        _write_name(client, run, content),
        _write_state(client, run, content),
    ]
    return run, any(parts)


def lacks_files(run: Run, content: Content) -> bool:
    """Whether `write_files` has anything to write."""
    return _lacks_artifacts(run, content) or _lacks_model(run, content)


def write_files(client: MlflowClient, run: Run, content: Content) -> None:
    """Logs a run's artifacts and its model, whose place may be another than that of all else.

    Raises:
        FilesError: that place cannot be used.
    """
    run_id = run.info.run_id
    if _lacks_artifacts(run, content):
        tags = {ARTIFACTS_TAG: store.digest(content.artifacts)}
        with tempfile.TemporaryDirectory() as folder:
            content.write_artifacts(Path(folder))
            store.log_files(client, run_id, Path(folder))
            if any(Path(folder).glob("images/*")):
                tags["mlflow.loggedImages"] = "True"  # for its charts to look for them
        store.log_data(client, run_id, tags=tags)
    if _lacks_model(run, content):
        assert content.model is not None
        log_model(
            client,
            run,
            content.model,
            parameters=content.parameters,
            tags=content.tags,
            rows=content.blocks[-1] if content.blocks else [],
        )
        store.log_data(client, run_id, tags={MODEL_TAG: content.model.fingerprint})


def _write_data(client: MlflowClient, run: Run, content: Content, tags: Mapping[str, str]) -> bool:
    from mlflow.entities import Metric

    present = run.data.tags
    wanted = {
        **tags,
        COLOUR_TAG: present.get(COLOUR_TAG, tags[COLOUR_TAG]),
        LOGGED_TAG: _logged(content.blocks),
    }
    if not _is_described_by_the_user(present):
        wanted |= {NOTE_TAG: content.note, DESCRIBED_TAG: store.digest(content.note)}
    new_tags = dict(wanted.items() - present.items())
    new_parameters = dict(content.parameters.items() - run.data.params.items())
    stale = {"set"} & (present.keys() - wanted.keys())
    for name in stale:
        client.delete_tag(run.info.run_id, name)
    store.log_data(
        client,
        run.info.run_id,
        metrics=[
            Metric(name, value, time, step)
            for block in content.blocks[_blocks_logged(run) :]
            for name, step, time, value in block
        ],
        parameters=new_parameters,
        # Last: until they are there, what has been logged is logged again, to no effect.
        tags=new_tags,
    )
    return bool(new_tags or new_parameters or stale)


def _write_name(client: MlflowClient, run: Run, content: Content) -> bool:
    """Renames a run that has the name that we gave it."""
    ours = run.data.tags.get(NAMED_TAG, content.name)
    if content.name == ours or run.info.run_name != ours:
        return False
    client.update_run(run.info.run_id, name=content.name)
    return True


def _write_state(client: MlflowClient, run: Run, content: Content) -> bool:
    ended = None if content.ended is None else store.milliseconds(content.ended)
    if (run.info.status, run.info.end_time) == (content.status, ended):
        return False
    if content.status == "RUNNING":
        client.update_run(run.info.run_id, status=content.status)
    else:
        client.set_terminated(run.info.run_id, content.status, ended)
    return True


def _lacks_artifacts(run: Run, content: Content) -> bool:
    fingerprint = store.digest(content.artifacts)
    return content.artifacts != "" and run.data.tags.get(ARTIFACTS_TAG) != fingerprint


def _lacks_model(run: Run, content: Content) -> bool:
    model = content.model
    return model is not None and run.data.tags.get(MODEL_TAG) != model.fingerprint


def _is_beginning(run: Run, content: Content) -> bool:
    """Whether what the store has of a run is unchanged in the folders, as far as it goes."""
    logged = _blocks_logged(run)
    return (
        run.data.params.items() <= content.parameters.items()
        and logged <= len(content.blocks)
        and run.data.tags.get(LOGGED_TAG, _logged([])) == _logged(content.blocks[:logged])
        and run.info.start_time == store.milliseconds(content.started)
        and not (run.info.end_time is not None and content.ended is None)
    )


def _logged(blocks: Sequence[Sequence[Row]]) -> str:
    """How many blocks the store holds, and what was in them."""
    return f"{len(blocks)}:{store.digest(json.dumps(blocks))}"


def _blocks_logged(run: Run) -> int:
    return int(run.data.tags.get(LOGGED_TAG, "0:").split(":")[0])


def _of_the_user(replaced: Sequence[Run]) -> dict[str, str]:
    """The tags, description and colour that the user gave to a run about to be replaced."""
    tags = dict(replaced[0].data.tags) if replaced else {}
    ours = {"level", "strategy", "suite", "set", "seeds finished", "control", "error"}
    prefixes = ("mlflow.", "environment.")
    kept = {n: text for n, text in tags.items() if n not in ours and not n.startswith(prefixes)}
    if COLOUR_TAG in tags:
        kept[COLOUR_TAG] = tags[COLOUR_TAG]
    if _is_described_by_the_user(tags):
        kept[NOTE_TAG] = tags[NOTE_TAG]
    return kept


def _is_described_by_the_user(tags: Mapping[str, str]) -> bool:
    note = tags.get(NOTE_TAG, "")
    return note != "" and tags.get(DESCRIBED_TAG) != store.digest(note)
