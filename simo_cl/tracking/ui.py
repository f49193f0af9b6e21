"""Open MLflow's own UI on a suite, in the view that compares its strategies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from simo_cl.tracking import store
from simo_cl.tracking.damage import damage
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.redact import public_address, without_secrets
from simo_cl.tracking.run_folders import read_suite
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.view import chart_view_url

__all__ = ["TrackingError", "chart_view_url", "serve_ui"]

HOST = "127.0.0.1"
# Six seconds on an idle machine; next to a running suite it can take minutes.
START_SECONDS = 240.0


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
        FileNotFoundError: the folder holds no plan.json.
    """
    store.without_telemetry()
    suite_folder = Path(suite_folder).resolve()
    uri = store.suite_store(suite_folder, tracking_uri)
    experiment = _experiment(suite_folder, uri)
    if uri.startswith(("http://", "https://")):
        # A browser asks for the login, and does not keep it in its history.
        _show(chart_view_url(public_address(uri), experiment), open_browser)
        return
    base = f"http://{HOST}:{port}"
    _require_free(port, chart_view_url(base, experiment))
    print(f"Starting MLflow on {without_secrets(uri)} ...", flush=True)
    with _server(uri, base, port) as process:
        _show(chart_view_url(base, experiment), open_browser)
        print("Press Ctrl-C to stop it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    print("MLflow has stopped.", flush=True)


def _experiment(suite_folder: Path, uri: str) -> str:
    """The suite's experiment; a suite that is already there is left to the one who writes it.

    Two processes must not write one SQLite file's first tables at the same time, and the harness
    may be running.
    """
    name = read_suite(suite_folder, []).name
    if store.is_own_store(suite_folder, uri):
        file = store.own_file(suite_folder)
        if not file.is_file() or damage(file) is not None:
            report = mirror(suite_folder, uri)
            for problem in report.problems:
                print(f"Warning: {problem}", flush=True)
            return report.experiment_id
    client = store.open_client(uri)
    with store.quick_requests(store.ANSWER_SECONDS), store.tracking_errors(uri):
        known = client.get_experiment_by_name(name)
    if known is None or known.lifecycle_stage == "deleted":
        return mirror(suite_folder, uri).experiment_id
    return str(known.experiment_id)


def _show(address: str, open_browser: bool) -> None:
    print(f"The strategies side by side:\n  {address}", flush=True)
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
def _server(uri: str, base: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server, answering; its process and those it starts end with the block."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        # One worker and no background jobs: half the start and a quarter of the memory.
        *("--workers", "1"),
    ]
    environment = os.environ | {
        # Not in the command line, which every user of the machine can see.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with tempfile.TemporaryFile() as log, _terminable():
        # In a session of its own, so that Ctrl-C reaches this process alone, which then ends it.
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(process, base, log)
            yield process
        finally:
            _stop(process)


def _wait_for(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers, if only to refuse
        except OSError:
            time.sleep(0.2)
    log.seek(0)
    last = without_secrets("\n".join(log.read().decode(errors="replace").splitlines()[-15:]))
    raise TrackingError(f"MLflow's server did not start at {address}. Its last words:\n{last}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and its workers, first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Inside, a termination request ends the block like Ctrl-C, so that no server is left over."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
