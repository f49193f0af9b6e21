"""An MLflow store: which one, with what limits, what it accepts, and how a run is written to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from simo_cl.results import flat_settings
from simo_cl.tracking.redact import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as the description of an experiment, run or model."""

# For a first answer, and for one to a request that has work to do, as keeping a large model.
ANSWER_SECONDS = 10
REQUEST_SECONDS = 60
NAME_LENGTH = 250
VALUE_LENGTH = 6000
# The most that MLflow takes in a call: of all, and of parameters and of tags.
_ITEMS_PER_CALL, _OTHERS_PER_CALL = 1000, 100
_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")


# MLflow's kinds of store, besides those that a plugin of it brings.
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https", "databricks", "databricks-uc", "uc")


class TrackingError(Exception):
    """The MLflow store cannot be used; the message says which, why, and what to do.

    Attributes:
        problems: what was found before that, a sentence each, as that a damaged file was renamed.
        is_refusal: whether the store answered, and will not do what it was asked.
    """

    problems: tuple[str, ...] = ()
    is_refusal = False


def suite_store(suite_folder: Path, tracking_uri: str | None = None) -> str:
    """The store given, else that of ``MLFLOW_TRACKING_URI``, else the suite's own SQLite file."""
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _sqlite(suite_folder)


def is_own_store(suite_folder: Path, uri: str) -> bool:
    """Whether ``uri`` is the SQLite file inside the suite's folder."""
    return uri == _sqlite(suite_folder)


def own_file(suite_folder: Path) -> Path:
    """The SQLite file inside the suite's folder."""
    return (suite_folder / "mlflow.db").resolve()


def refuse_unusable(uri: str) -> None:
    """Refuses a store that cannot be used on this machine, whatever it holds.

    Asks nobody and does not import MLflow, so that it costs nothing before hours of training.

    Raises:
        TrackingError: it is a folder of files, which MLflow no longer writes; a database whose
            driver is not installed; or of no kind that MLflow knows.
    """
    scheme = urlsplit(uri).scheme
    problem = None
    if uri in _SERVERS or scheme in _SERVERS:
        return
    if scheme in ("", "file"):
        problem = _problem_of_files(uri)
    elif scheme.partition("+")[0] in _DATABASES:
        problem = _problem_of_database(uri)
    elif scheme not in (plugin.name for plugin in entry_points(group="mlflow.tracking_store")):
        is_host = re.match(r"[\w.-]+:\d+", uri)
        guess = f" If it is a server, its address is http://{uri}." if is_host else ""
        problem = (
            f"{uri} is no MLflow store: it begins with {scheme!r}.{guess} Use sqlite:///FILE, "
            f"the address of an MLflow server, or a database ({', '.join(_DATABASES)})"
        )
    if problem is not None:
        raise TrackingError(
            f"{without_secrets(problem)}. The store is what --tracking-uri, `tracking_uri` or "
            "MLFLOW_TRACKING_URI names"
        )


def _problem_of_files(uri: str) -> str | None:
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
        return None
    path = Path(url2pathname(urlsplit(uri).path) if uri.startswith("file:") else uri)
    is_database = path.suffix in (".db", ".sqlite", ".sqlite3")
    file = (path if is_database else path / "mlflow.db").absolute()
    return (
        f"{uri} names a folder of files, which MLflow no longer takes as a store. Use "
        f"sqlite:///{file.as_posix()}; `mlflow migrate-filestore` copies what an old folder holds. "
        "To use the folder all the same, set MLFLOW_ALLOW_FILE_STORE=true"
    )


def _problem_of_database(uri: str) -> str | None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        install = {"psycopg2": "psycopg2-binary"}.get(str(error.name), error.name)
        missing = f"the Python package {error.name}, which is not installed"
        return f"{uri} needs {missing}: pip install {install}"
    except (ArgumentError, NoSuchModuleError) as error:
        return f"{uri} is no address of a database ({error})"
    return None


def open_client(uri: str) -> MlflowClient:
    """A client whose store has answered; an SQLite file is made and brought up to date.

    Raises:
        TrackingError: no answer within ``ANSWER_SECONDS``, or not an MLflow store.
    """
    refuse_unusable(uri)
    with quick_requests(ANSWER_SECONDS), tracking_errors(uri):
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
    file = _sqlite_file(uri)
    if file is None or file.exists():
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
        ImportError,
    ) as error:
        explained = TrackingError(_explanation(uri, error))
        explained.is_refusal = getattr(error, "error_code", None) in _REFUSALS
        raise explained from error


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """Turns whatever goes wrong with artifacts inside into a `FilesError`.

    Artifacts may lie elsewhere than the runs, behind a library of anybody's.
    """
    try:
        yield
    except Exception as error:
        text = without_secrets(str(error).strip() or type(error).__name__).splitlines()[0][:500]
        raise FilesError(text) from error


class FilesError(Exception):
    """The place of a run's artifacts cannot be used; the message is the reason."""


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made or taken out of MLflow's trash if need be.

    Its artifacts lie in ``mlartifacts`` beside an SQLite file, and where a server has them.
    """
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            file = _sqlite_file(client.tracking_uri)
            place = None if file is None else (file.resolve().parent / "mlartifacts").as_uri()
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            # Another process may have made it just now.
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def log_data(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes any number of each, in as few calls as MLflow allows; the tags come last.

    Within a call, too: MLflow's stores write parameters, metrics and tags in this order.
    """
    from mlflow.entities import Param, RunTag

    first = [Param(*item) for item in (parameters or {}).items()]
    last = [RunTag(*item) for item in (tags or {}).items()]
    is_one_call = max(len(first), len(last)) <= _OTHERS_PER_CALL
    if not is_one_call or len(first) + len(metrics) + len(last) > _ITEMS_PER_CALL:
        # MLflow itself makes several calls of it, in which tags may precede numbers.
        client.log_batch(run_id, params=first, metrics=metrics)
        first, metrics = [], ()
    client.log_batch(run_id, params=first, metrics=metrics, tags=last)


def log_files(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Makes the files below a folder the run's artifacts of the same paths.

    One by one: MLflow's own way of logging a folder starts threads, which a process that is ending
    may not.

    Raises:
        FilesError: their place, which may be another than that of all else, cannot be used.
    """
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        log_file(client, run_id, file, folder)


def log_file(client: MlflowClient, run_id: str, file: Path, folder: Path) -> None:
    """Makes a file an artifact of the same path as it has in a folder.

    Raises:
        FilesError: its place cannot be used.
    """
    place = file.parent.relative_to(folder).as_posix()
    with file_errors():
        client.log_artifact(run_id, str(file), None if place == "." else place)


def absolute(uri: str) -> str:
    """An SQLite address that means the same file from any working folder; others as they are."""
    from sqlalchemy import make_url

    file = _sqlite_file(uri)
    if file is None or file.is_absolute():
        return uri
    return str(make_url(uri).set(database=file.absolute().as_posix()))


def _sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address; None for other stores, and for one in memory."""
    from sqlalchemy import make_url

    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    name = make_url(uri).database
    return None if name in (None, "", ":memory:") else Path(str(name))


def digest(text: str) -> str:
    """A short fingerprint of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def milliseconds(seconds: float) -> int:
    """A Unix time as MLflow counts it."""
    return int(float(seconds) * 1000)


def as_json(value: Any) -> str:
    """A text as it is, anything else as JSON: as a suite file has it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def flat_parameters(
    settings: Mapping[str, Any], text_of: Callable[[Any], str] = as_json
) -> dict[str, str]:
    """Nested settings as MLflow parameters, with dotted names."""
    return {
        accepted_name(name): text_of(value)[:VALUE_LENGTH]
        for name, value in flat_settings(settings).items()
    }


@cache
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
