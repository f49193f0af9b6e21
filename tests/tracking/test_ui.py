from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from simo_cl.results import ResultsError
from simo_cl.tracking import ui
from simo_cl.tracking.mirror import mirror
from simo_cl.tracking.redact import without_secrets
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.ui import serve_ui
from simo_cl.tracking.view import chart_view_url

if TYPE_CHECKING:
    from conftest import SuiteMaker

SUITE_RUNS = ("finetune", "er", "er_ace", "simo")


@pytest.fixture
def small_suite(suite: SuiteMaker) -> SuiteMaker:
    suite.plan([(label, seed) for label in SUITE_RUNS for seed in (0, 1)])
    for level, label in enumerate(SUITE_RUNS):
        for seed in (0, 1):
            suite.run(label, seed, level=0.2 + 0.2 * level)
    return suite


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stores that were served: in place of the server, which ends at once."""
    uris: list[str] = []

    @contextlib.contextmanager
    def server(uri: str, port: int) -> Iterator[threading.Thread]:
        uris.append(uri)
        yield threading.Thread()

    monkeypatch.setattr(ui, "_server", server)
    monkeypatch.setattr(ui, "_require_free", lambda *_: None)  # whoever has the default port
    return uris


def uri_of(suite: SuiteMaker) -> str:
    return f"sqlite:///{suite.folder}/mlflow.db"


def listening_at(port: int) -> set[str]:
    """The addresses at which this machine listens on a port, as Linux writes them."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return {
        address
        for _, local, _, state, *_ in lines
        for address, _, hexadecimal in [local.partition(":")]
        if state == "0A" and int(hexadecimal, 16) == port
    }


def test_serves_until_it_is_stopped(
    small_suite: SuiteMaker,
    free_port: int,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real thing, in a process of its own: start, address, an artifact, stop."""
    monkeypatch.setenv("MLFLOW_HOST", "0.0.0.0")
    report = mirror(small_suite.folder)
    base = f"http://127.0.0.1:{free_port}"
    with serve(small_suite.folder, free_port) as served:
        assert f"{chart_view_url(base, report.experiment_id)}\n" in served.output()
        (run,) = MlflowClient(base).search_runs(
            [report.experiment_id], "attributes.run_name = 'simo seed 1 · tiny'"
        )
        query = urllib.parse.urlencode({"path": "config.yaml", "run_uuid": run.info.run_id})
        with urllib.request.urlopen(f"{base}/get-artifact?{query}") as artifact:
            assert b"epsilon: 0.1" in artifact.read()
        assert listening_at(free_port) == {"0100007F"}  # 127.0.0.1, whatever MLFLOW_HOST says
        served.stop()
        assert "MLflow has stopped." in served.output()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{base}/health", timeout=2)


def test_a_port_in_use(small_suite: SuiteMaker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=f"--port {port + 1}") as refused:
            serve_ui(small_suite.folder, port=port, open_browser=False)
    (experiment,) = MlflowClient(uri_of(small_suite)).search_experiments(
        filter_string="name = 'tiny'"
    )
    page = chart_view_url(f"http://127.0.0.1:{port}", experiment.experiment_id)
    assert without_secrets(str(refused.value)).endswith(f"open {page}")


def test_the_store_s_other_suites_are_shown_beside_it(
    small_suite: SuiteMaker,
    make_suite: Callable[[Path], SuiteMaker],
    tmp_path: Path,
    served: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = uri_of(small_suite)
    mirror(small_suite.folder)
    other = make_suite(tmp_path / "results" / "other")
    other.plan([("er", 0)], name="other")
    other.run("er", 0)
    MlflowClient(uri).create_experiment("no suite")
    serve_ui(other.folder, tracking_uri=uri, open_browser=False)
    experiments = {e.name: e.experiment_id for e in MlflowClient(uri).search_experiments()}
    base = "http://127.0.0.1:5000"
    output = capsys.readouterr().out
    assert f"  {chart_view_url(base, experiments['other'])}\n" in output
    both = chart_view_url(base, experiments["other"], experiments["tiny"])
    assert f"  {both}\n" in output
    assert served == [uri]


def test_a_suite_is_shown_whose_files_cannot_be(
    small_suite: SuiteMaker, served: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    uri = uri_of(small_suite)
    MlflowClient(uri).create_experiment("tiny", artifact_location="s3://bucket/tiny")
    serve_ui(small_suite.folder, open_browser=False)
    assert served == [uri]
    output = capsys.readouterr().out
    assert "Warning: " in output
    assert "s3://bucket/tiny" in output
    assert "The strategies side by side" in output


def test_a_server_as_store_is_only_opened(
    small_suite: SuiteMaker,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_suite.plan([("er", 0), ("simo", 1)], name="opened")
    opened: list[str] = []
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    serve_ui(small_suite.folder, tracking_uri=server)
    experiment = MlflowClient(server).get_experiment_by_name("opened")
    # It was not there yet, so it has been mirrored first.
    assert MlflowClient(server).search_runs([experiment.experiment_id])
    assert opened == [chart_view_url(server, experiment.experiment_id)]
    assert opened[0] in capsys.readouterr().out


def test_a_server_s_login_goes_neither_to_the_terminal_nor_to_the_browser(
    small_suite: SuiteMaker,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_suite.plan([("er", 0)], name="with a login")
    opened: list[str] = []
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    serve_ui(small_suite.folder, tracking_uri=server.replace("://", "://me:secret@"))
    assert opened[0].startswith(f"{server}/#/")
    assert "secret" not in opened[0] + capsys.readouterr().out


def test_a_damaged_store_is_made_anew(
    small_suite: SuiteMaker, capsys: pytest.CaptureFixture[str], served: list[str]
) -> None:
    (small_suite.folder / "mlflow.db").write_bytes(b"no database " * 1000)
    serve_ui(small_suite.folder, open_browser=False)
    assert served == [uri_of(small_suite)]
    assert "it is now mlflow.db.damaged-1" in capsys.readouterr().out


class EndsAtOnce:
    """A server that cannot listen."""

    started = should_exit = force_exit = False

    def run(self) -> None:
        """As if the port were taken."""


def test_a_server_that_does_not_start_is_said(
    small_suite: SuiteMaker, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "make_server", lambda *_: EndsAtOnce())
    with pytest.raises(TrackingError, match="did not start"):
        serve_ui(small_suite.folder, port=free_port, open_browser=False)


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"plan\.json"):
        serve_ui(tmp_path, open_browser=False)
