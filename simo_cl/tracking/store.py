"""Reach an MLflow store: which one, with what limits, and what it accepts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simo_cl.tracking.redact import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as the description of an experiment, run or model."""

# For a first answer, and for one to a request that has work to do, as keeping a large model.
ANSWER_SECONDS = 10
REQUEST_SECONDS = 60
METRICS_PER_CALL = 1000
PARAMETERS_PER_CALL = 100
NAME_LENGTH = 250
VALUE_LENGTH = 6000


class TrackingError(Exception):
    """The MLflow store cannot be used; the message says which, why, and what to do.

    Attributes:
        problems: what was found before that, a sentence each, as that a damaged file was renamed.
    """

    problems: tuple[str, ...] = ()


def suite_store(suite_folder: Path, tracking_uri: str | None = None) -> str:
    """The store given, else that of ``MLFLOW_TRACKING_URI``, else the suite's own SQLite file."""
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _sqlite(suite_folder)


def is_own_store(suite_folder: Path, uri: str) -> bool:
    """Whether ``uri`` is the SQLite file inside the suite's folder."""
    return uri == _sqlite(suite_folder)


def own_file(suite_folder: Path) -> Path:
    """The SQLite file inside the suite's folder."""
    return (suite_folder / "mlflow.db").resolve()


def open_client(uri: str) -> MlflowClient:
    """A client whose store has answered; an SQLite file is made and brought up to date.

    Raises:
        TrackingError: no answer within ``ANSWER_SECONDS``, or not an MLflow store.
    """
    with quick_requests(ANSWER_SECONDS), tracking_errors(uri):
        if uri.startswith("sqlite:"):
            _make_whole(uri)
        return _answering_client(uri)


def _answering_client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _make_whole(uri: str) -> None:
    """Makes a missing SQLite file, whole or not at all.

    A process that ends while MLflow makes its tables leaves some of them, on which MLflow then
    fails for ever.
    """
    from sqlalchemy import make_url

    url = make_url(uri)
    file = Path(url.database or ":memory:")
    if url.database in (None, "", ":memory:") or file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
        made = Path(folder).resolve() / file.name
        _answering_client(f"sqlite:///{made.as_posix()}")
        try:
            os.link(made, file)
        except FileExistsError:
            pass  # another process was first
        except OSError:  # a file system without links
            made.rename(file)


def without_telemetry() -> None:
    """Keeps MLflow from reporting its use to its makers, in a process that is ours.

    To be called before MLflow is imported. Whoever has set the variable has the say.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@contextlib.contextmanager
def quick_requests(seconds: float) -> Iterator[None]:
    """Inside, a request that gets no answer fails in so many seconds, and MLflow prints no
    addresses.

    MLflow's own limits, 120 s with seven retries, would hold up whoever waits. Limits that the
    user set in the environment stay.
    """
    limits = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        # Two lines a run, on standard output, in the middle of a progress display.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    ours = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextlib.contextmanager
def quiet(name: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keeps a logger's notes below `level` off the terminal."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turns what goes wrong inside into a `TrackingError` that names the store."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        # MLflow prints a database's errors, with its address, before it raises them.
        with quiet("alembic"), quiet("mlflow.store.db.utils", logging.CRITICAL):
            yield
    except (
        MlflowException,
        requests.exceptions.RequestException,
        sqlalchemy.exc.SQLAlchemyError,
        OSError,
    ) as error:
        raise TrackingError(_explanation(uri, error)) from error


def experiment_id(client: MlflowClient, name: str, artifact_location: str | None = None) -> str:
    """The experiment of that name, made or taken out of MLflow's trash if need be."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_location))
        except MlflowException:
            # Another process may have made it just now.
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def log_all(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    parameters: Sequence[Param] = (),
    tags: Sequence[RunTag] = (),
) -> None:
    """Writes any number of each, in as few calls as MLflow allows; the tags come last."""
    for start in range(0, len(parameters), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=parameters[start : start + PARAMETERS_PER_CALL])
    for start in range(0, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
    for start in range(0, len(tags), PARAMETERS_PER_CALL):
        client.log_batch(run_id, tags=tags[start : start + PARAMETERS_PER_CALL])


def digest(text: str) -> str:
    """A short fingerprint of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def milliseconds(seconds: float) -> int:
    """A Unix time as MLflow counts it."""
    return int(float(seconds) * 1000)


def flat_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as MLflow parameters: dotted names, texts as they are, the rest as JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{name}.{key}": text for key, text in flat_parameters(value).items()}
        else:
            flat[str(name)] = value if isinstance(value, str) else json.dumps(value, default=str)
    return {accepted_name(name): text[:VALUE_LENGTH] for name, text in flat.items()}


def accepted_name(name: str) -> str:
    """`name` with what MLflow refuses in a metric's or parameter's name replaced by ``_``."""
    cleaned = re.sub(r"[^\w\-. :/]", "_", name)
    parts = [part for part in cleaned.split("/") if part.strip(".")]
    return "/".join(parts)[:NAME_LENGTH] or "_"


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{own_file(folder).as_posix()}"


def _explanation(uri: str, error: BaseException) -> str:
    """What is wrong with a store, in one sentence, and what to do about it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(isinstance(link, (ConnectionError, TimeoutError, socket.gaierror)) for link in chain):
        problem = f"the MLflow server {uri} does not answer ({chain[-1]})"
    else:
        text = str(error).strip() or type(error).__name__
        problem = f"the MLflow store {uri} cannot be used: {text.splitlines()[0][:500]}"
    return (
        f"{without_secrets(problem)}\nCheck that the server is running and that the address is "
        "right (--tracking-uri or MLFLOW_TRACKING_URI), or leave both out to use a local SQLite "
        "file."
    )
