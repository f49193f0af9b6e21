"""Open MLflow's own UI on a suite, in the view that compares its strategies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import warnings
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.results import read_plan, refuse_without_runs
from simo_cl.tracking import store
from simo_cl.tracking.damage import damage
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.redact import public_address, without_secrets
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.view import VIEW_TAG, chart_view_url

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from uvicorn import Server

HOST = "127.0.0.1"
_STOP_SECONDS = 5.0


def serve_ui(
    suite_folder: Path,
    *,
    tracking_uri: str | None = None,
    port: int = 5000,
    open_browser: bool = True,
) -> None:
    """Starts MLflow's server on the suite's store, opens its charts, and serves until Ctrl-C.

    A suite that MLflow does not know yet is mirrored first. When the store is itself a server,
    none is started: its address is printed and opened, and the call returns. The server listens on
    the loopback address only: MLflow asks nobody who they are.

    Args:
        suite_folder: ``results/<suite>``.
        tracking_uri: as for `mirror`.
        port: the port to listen on.
        open_browser: whether to open the page; its address is printed in any case.

    Raises:
        TrackingError: the port is taken, the server does not start, or the store does not answer.
        ResultsError: the folder holds no plan.json, or none that can be read; or MLflow does not
            know the suite, and the folders of its runs are elsewhere.
    """
    store.without_telemetry()
    suite_folder = Path(suite_folder).resolve()
    uri = store.suite_store(suite_folder, tracking_uri)
    experiments = _experiments(suite_folder, uri)
    if uri.startswith(("http://", "https://")):
        # A browser asks for the login, and does not keep it in its history.
        _show(public_address(uri), experiments, open_browser)
        return
    base = f"http://{HOST}:{port}"
    _require_free(port, chart_view_url(base, *experiments))
    print(f"Starting MLflow on {without_secrets(uri)} ...", flush=True)
    with (
        contextlib.suppress(KeyboardInterrupt),
        _interrupted_by_sigterm(),
        _server(uri, port) as thread,
    ):
        _show(base, experiments, open_browser)
        print("Press Ctrl-C to stop it.", flush=True)
        while thread.is_alive():
            thread.join(1.0)
    print("MLflow has stopped.", flush=True)


def _experiments(suite_folder: Path, uri: str) -> list[str]:
    """The suite's experiment, then those of the other suites in the store.

    A suite that is already there is left to the one who writes it: two processes must not write
    one SQLite file's first tables at the same time, and the harness may be running.
    """
    name = read_plan(suite_folder).suite
    own = store.own_file(suite_folder)
    is_lost = store.is_own_store(suite_folder, uri) and (not own.is_file() or damage(own))
    found = [] if is_lost else _suites(uri)
    if name not in (experiment.name for experiment in found):
        refuse_without_runs(suite_folder)
        _mirror(suite_folder, uri)
        found = _suites(uri)
    found.sort(key=lambda experiment: experiment.name != name)
    return [str(experiment.experiment_id) for experiment in found]


def _suites(uri: str) -> list[Experiment]:
    """The experiments that show a suite."""
    client = store.open_client(uri)
    with store.quick_requests(store.ANSWER_SECONDS), store.tracking_errors(uri):
        found = client.search_experiments(filter_string=f"tags.`{VIEW_TAG}` LIKE '%'")
    return list(found)


def _mirror(suite_folder: Path, uri: str) -> None:
    try:
        problems = mirror(suite_folder, uri).problems
    except TrackingError as error:
        # Perhaps it lacks files alone; if it lacks more, that is found in a moment.
        problems = (*error.problems, str(error))
    for problem in problems:
        print(f"Warning: {problem}", flush=True)


def _show(base: str, experiments: Sequence[str], open_browser: bool) -> None:
    address = chart_view_url(base, experiments[0])
    print(f"The strategies side by side:\n  {address}", flush=True)
    if len(experiments) > 1:
        together = chart_view_url(base, *experiments)
        print(f"With those of the store's other suites:\n  {together}", flush=True)
    if open_browser:
        webbrowser.open(address)


def _require_free(port: int, address: str) -> None:
    with socket.socket() as probe:
        # As the server itself does: a port that was in use a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise TrackingError(
                f"cannot listen on {HOST}:{port} ({error.strerror}). Choose another port, for "
                f"example --port {port + 1}; if it is MLflow on this suite that listens there "
                f"already, open {address}"
            ) from error


@contextlib.contextmanager
def _server(uri: str, port: int) -> Iterator[threading.Thread]:
    """MLflow's server, answering, in a thread of this process.

    The command `mlflow server` begins two processes, each of which imports all of MLflow again:
    more than half of the time until the page is there.
    """
    server = make_server(uri, HOST, port)
    thread = threading.Thread(target=server.run, name="simo_cl-mlflow", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            thread.join(0.05)
        if not server.started:
            raise TrackingError(f"MLflow's server did not start at http://{HOST}:{port}")
        yield thread
    finally:
        # A page that is open keeps its connection: not to be waited for.
        server.should_exit = server.force_exit = True
        thread.join(_STOP_SECONDS)


def make_server(uri: str, host: str, port: int) -> Server:
    """What the command `mlflow server` would serve for this store.

    MLflow's application reads its settings from the environment, as in that command's workers.
    """
    # Before MLflow's: it looks whether a server is there, and guards itself if so.
    import uvicorn

    # No background jobs: a quarter of the memory.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    from mlflow import server

    os.environ |= {
        server.BACKEND_STORE_URI_ENV_VAR: uri,
        server.REGISTRY_STORE_URI_ENV_VAR: uri,
        server.SERVE_ARTIFACTS_ENV_VAR: "true",
        server.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        server.ARTIFACTS_DESTINATION_ENV_VAR: os.environ.get(
            "MLFLOW_ARTIFACTS_DESTINATION", "mlartifacts"
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MLflow itself imports
        from mlflow.server.fastapi_app import app

    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="critical"))


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Inside, a termination request ends the block like Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
