from __future__ import annotations

import contextlib
import errno
import json
import math
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from avalanche.benchmarks import tensors_benchmark
from avalanche.checkpointing import maybe_load_checkpoint, save_checkpoint
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import AlternativeValues, MetricValue, TensorImage
from avalanche.evaluation.metrics import accuracy_metrics, confusion_matrix_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Metric
from processes import run_script

from simo_cl.tracking import local_run, sender, store
from simo_cl.tracking.local_run import FolderError, LocalRun, RunSettings
from simo_cl.tracking.mlflow_logger import MLflowLogger, TrackingError, send_kept


@pytest.fixture(autouse=True)
def _sigterm_is_nobodys() -> Iterator[None]:
    """Whatever a library that another test used has left there, as Ray does."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty SQLite store in the working folder."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sender, "GATHER_SECONDS", 0.05)
    return f"sqlite:///{tmp_path}/mlflow.db"


class OwnMetric(PluginMetric):
    """A metric that is not Avalanche's."""

    def result(self) -> None:
        return None

    def reset(self) -> None:
        pass

    def after_eval(self, strategy: Any) -> MetricValue:
        return MetricValue(self, "features/orthogonality/coherence", 0.25, 7)


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in client.get_metric_history(run_id, name)]


SETS = [
    (torch.randn(8, 4, generator=torch.Generator().manual_seed(k)), torch.arange(8) % 2 + 2 * k)
    for k in range(3)
]
BENCHMARK = tensors_benchmark(SETS, SETS, task_labels=[0, 0, 0])


def strategy_with(logger: MLflowLogger) -> Naive:
    """A strategy that logs Avalanche's metrics and one that is not."""
    model = torch.nn.Linear(4, 6)
    return Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        train_mb_size=4,
        train_epochs=1,
        eval_mb_size=8,
        evaluator=EvaluationPlugin(
            accuracy_metrics(minibatch=True, stream=True),
            confusion_matrix_metrics(num_classes=6, stream=True),
            OwnMetric(),
            loggers=[logger],
        ),
    )


def train(logger: MLflowLogger, *, evaluate_first: bool = False) -> None:
    """Three experiences of two classes, evaluated after each."""
    strategy = strategy_with(logger)
    if evaluate_first:
        strategy.eval(BENCHMARK.test_stream)
    for experience in BENCHMARK.train_stream:
        strategy.train(experience)
        strategy.eval(BENCHMARK.test_stream)


def test_avalanche_experiment(uri: str) -> None:
    with MLflowLogger("mine", tracking_uri=uri, parameters={"optimizer": {"lr": 0.1}}) as logger:
        train(logger, evaluate_first=True)
    client = MlflowClient(uri)
    run = client.get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"optimizer.lr": "0.1"}
    assert client.get_experiment(run.info.experiment_id).name == "mine"

    stream = "avalanche/Top1_Acc_Stream/eval_phase/test_stream/Task000"
    assert [step for step, _ in history(client, logger.run_id, stream)] == [-1, 0, 1, 2]
    batch = "avalanche/Top1_Acc_MB/train_phase/train_stream/Task000"
    assert len({step for step, _ in history(client, logger.run_id, batch)}) == 6
    own = history(client, logger.run_id, "features/orthogonality/coherence")
    assert set(own) == {(7, 0.25)}

    place = "avalanche/ConfusionMatrix_Stream/eval_phase/test_stream"
    files = {Path(file.path).name for file in client.list_artifacts(logger.run_id, place)}
    assert {"step_0002.png", "step_0002.csv"} <= files


def test_kinds_of_values(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    with MLflowLogger(tracking_uri=uri) as logger:
        logger.log_single_metric("scalar", torch.tensor(0.5), 1)
        logger.log_single_metric("number", 2, 1)
        logger.log_single_metric("both", AlternativeValues(figure, torch.eye(3)), 1)
        logger.log_single_metric("image", TensorImage(torch.zeros(3, 4, 4)), 1)
        logger.log_single_metric("text", "many words", 1)
        logger.log_single_metric("odd[name]//é", 1.0, 1)
    client = MlflowClient(uri)
    metrics = client.get_run(logger.run_id).data.metrics
    assert metrics == {"scalar": 0.5, "number": 2.0, "odd_name_/é": 1.0}
    found = {
        file.path
        for name in ("both", "image")
        for file in client.list_artifacts(logger.run_id, name)
    }
    assert found == {"both/step_0001.png", "both/step_0001.csv", "image/step_0001.png"}
    assert "text is not logged" in caplog.text


def test_values_that_are_not_finite_are_left_out_and_said_once(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        for step, value in enumerate([1.0, math.nan, math.inf, 2.0]):
            logger.log_single_metric("loss", value, step)
    assert history(MlflowClient(uri), logger.run_id, "loss") == [(0, 1.0), (3, 2.0)]
    assert caplog.text.count("not sent to MLflow") == 1


def test_many_values_go_in_batches(uri: str) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        for step in range(2500):
            logger.log_single_metric("loss", step / 7, step)
    assert len(history(MlflowClient(uri), logger.run_id, "loss")) == 2500


def test_the_default_store_is_a_file_in_the_working_folder(uri: str, tmp_path: Path) -> None:
    with MLflowLogger("mine", run_name="by default") as logger:
        logger.log_single_metric("loss", 1.0, 0)
    run = MlflowClient(uri).get_run(logger.run_id)
    assert (run.info.run_name, run.data.metrics) == ("by default", {"loss": 1.0})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("boom"), "FAILED"),
        (SystemExit(3), "FAILED"),
        (SystemExit(0), "FINISHED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_an_error_marks_the_run(uri: str, error: BaseException, status: str) -> None:
    def fail() -> None:
        with MLflowLogger(tracking_uri=uri) as logger:
            identifiers.append(logger.run_id)
            raise error

    identifiers: list[str | None] = []
    with pytest.raises(type(error)):
        fail()
    assert MlflowClient(uri).get_run(identifiers[0]).info.status == status


def test_sigterm_is_left_alone_where_it_is_seen_to_and_afterwards(uri: str) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    MLflowLogger(tracking_uri=uri).close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def of_the_user(*_: Any) -> None:
        pass

    signal.signal(signal.SIGTERM, of_the_user)
    try:
        MLflowLogger(tracking_uri=uri).close()
        assert signal.getsignal(signal.SIGTERM) is of_the_user
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


SIGTERM = "os.kill(os.getpid(), signal.SIGTERM)"
# How a process ends, and what becomes of the run of a logger that nobody has closed.
ENDINGS = {
    "": "FINISHED",
    "logger.before_training(None, []); sys.exit(0)": "FAILED",
    "1 / 0": "FAILED",
    "raise KeyboardInterrupt": "KILLED",
    SIGTERM: "KILLED",
    f"with logger: {SIGTERM}": "KILLED",
}


@pytest.mark.slow
def test_whatever_ends_the_process_ends_the_run(uri: str, tmp_path: Path) -> None:
    # Each ending in a fork of one process, because importing takes longer than all of them.
    script = f"""
        import os, signal, sys
        import torch
        from simo_cl.tracking import sender
        from simo_cl.tracking.mlflow_logger import MLflowLogger
        from simo_cl.tracking.store import open_client

        sender._SIGTERM_SECONDS = sender.CLOSE_SECONDS = 1e6  # however busy the machine is
        open_client("sqlite:///warm.db")
        for ending in {list(ENDINGS)!r}:
            if os.fork():
                print(os.wait()[1], flush=True)
                continue
            logger = MLflowLogger("mine", tracking_uri={uri!r}, tags={{"ending": ending}})
            logger.log_single_metric("loss", 1.0, 0)
            logger.log_single_metric("matrix", torch.eye(2), 0)
            if os.fork() == 0:  # as a data loader's worker, which must not end the run
                os.kill(os.getpid(), signal.SIGTERM)
            os.wait()
            exec(ending)
            break
    """
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "warm.db")
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ended = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True)
    assert [int(line) for line in ended.stdout.split()[-2:]] == [signal.SIGTERM] * 2
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert {run.data.tags["ending"]: run.info.status for run in runs} == ENDINGS
    for run in runs:
        assert run.data.metrics == {"loss": 1.0}
        assert [file.path for file in client.list_artifacts(run.info.run_id, "matrix")]


def test_an_experiment_is_named_by_a_text() -> None:
    with pytest.raises(TypeError, match="experiment is the name of one, as 'mine', got 3"):
        MLflowLogger(3)  # type: ignore[arg-type]


def test_parameters_are_what_mlflow_logs(uri: str) -> None:
    parameters = {
        "lr": np.float32(0.5),
        "seeds": np.int64(3),
        "weight": torch.tensor(2),
        "root": Path("data"),
        "layers": [64, 32],
        "scheduler": None,
        "nesterov": True,
    }
    with MLflowLogger(tracking_uri=uri, parameters=parameters) as logger:
        pass
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run() as run:
            mlflow.log_params(parameters)
    finally:
        mlflow.set_tracking_uri(None)
    client = MlflowClient(uri)
    ours = client.get_run(logger.run_id).data.params
    assert ours == client.get_run(run.info.run_id).data.params
    assert ours["root"] == "data"


@pytest.fixture
def begun(uri: str) -> str:
    """A run that somebody else has begun and ended."""
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("theirs"), run_name="theirs")
    client.set_terminated(run.info.run_id, "FAILED")
    return str(run.info.run_id)


def test_a_run_that_is_named_is_gone_on_with(
    uri: str, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(uri)
    more: dict[str, Any] = {"parameters": {"lr": 0.1}, "tags": {"by": "us"}}
    with MLflowLogger("mine", tracking_uri=uri, run_id=begun, **more) as logger:
        logger.log_single_metric("loss", 1.0, 0)
        assert client.get_run(begun).info.status == "RUNNING"
    run = client.get_run(begun)
    assert (logger.run_id, run.info.status, run.info.run_name) == (begun, "FINISHED", "theirs")
    assert (run.data.metrics, run.data.params) == ({"loss": 1.0}, {"lr": "0.1"})
    assert run.data.tags["by"] == "us"

    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    with MLflowLogger("mine", tracking_uri=uri) as logger:
        assert logger.run_id == begun
    with MLflowLogger("mine", tracking_uri=uri) as logger:  # as MLflow: the first run alone
        assert logger.run_id != begun


def test_the_active_run_is_gone_on_with_and_not_ended(uri: str, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(uri)
    try:
        with mlflow.start_run() as active:
            with MLflowLogger("mine") as logger:
                logger.log_single_metric("loss", 1.0, 0)
            assert logger.run_id == active.info.run_id
            with MLflowLogger("mine", tracking_uri=f"sqlite:///{tmp_path}/else.db") as other:
                assert other.run_id != active.info.run_id
            assert MlflowClient(uri).get_run(active.info.run_id).info.status == "RUNNING"
    finally:
        mlflow.set_tracking_uri(None)
    run = MlflowClient(uri).get_run(active.info.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})


def test_what_was_kept_of_a_run_of_somebody_else_leaves_its_state(uri: str, begun: str) -> None:
    run = RunSettings("mine", None, {}, {}, begun)
    kept = LocalRun.new()
    kept.write_settings(run, "KILLED")
    kept.add(Metric("loss", 1.0, 0, 0))
    kept.write_settings(run, None)
    assert send_kept(kept.folder, uri) == begun
    run = MlflowClient(uri).get_run(begun)
    assert (run.info.status, run.data.metrics) == ("FAILED", {"loss": 1.0})


def test_a_process_that_is_killed_leaves_what_was_not_sent(uri: str, tmp_path: Path) -> None:
    script = f"""
        import os, signal, torch
        from simo_cl.tracking import sender
        from simo_cl.tracking.mlflow_logger import MLflowLogger

        sender.GATHER_SECONDS = 1e6
        logger = MLflowLogger("mine", tracking_uri={uri!r})
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    assert run_script(["script.py"], tmp_path).returncode == -signal.SIGKILL
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    client = MlflowClient(uri)
    run = client.get_run(send_kept(folder, uri))
    assert (run.info.status, run.data.metrics) == ("KILLED", {"loss": 1.0})
    (file,) = client.list_artifacts(run.info.run_id, "matrix")
    assert file.path == "matrix/step_0000.csv"
    assert len(client.search_runs([run.info.experiment_id])) == 1


def test_a_run_that_is_not_there_is_refused(uri: str, server: str) -> None:
    for address in (uri, server):
        with pytest.raises(TrackingError, match="0123456789abcdef"):
            MLflowLogger(tracking_uri=address, run_id="0123456789abcdef" * 2)


def test_a_pickled_logger_goes_on_with_its_run(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = MLflowLogger("mine", tracking_uri="sqlite:///mlflow.db")
    strategy = strategy_with(logger)
    strategy.train(BENCHMARK.train_stream[0])
    strategy.eval(BENCHMARK.test_stream)
    # Avalanche cannot save torch 2.14's optimizers.
    save_checkpoint(strategy, str(tmp_path / "checkpoint.pkl"), exclude=["optimizer"])
    logger.close()
    client = MlflowClient(uri)
    assert client.get_run(logger.run_id).info.status == "FINISHED"

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded, trained = maybe_load_checkpoint(strategy_with(logger), str(tmp_path / "checkpoint.pkl"))
    assert trained == 1
    again = loaded.evaluator.loggers[0]
    assert client.get_run(logger.run_id).info.status == "FINISHED"  # nothing new yet
    loaded.train(BENCHMARK.train_stream[1])
    loaded.eval(BENCHMARK.test_stream)
    assert again.run_id == logger.run_id
    assert client.get_run(logger.run_id).info.status == "RUNNING"
    again.close()
    assert client.get_run(logger.run_id).info.status == "FINISHED"
    stream = "avalanche/Top1_Acc_Stream/eval_phase/test_stream/Task000"
    assert [step for step, _ in history(client, logger.run_id, stream)] == [0, 1]


def test_a_pickled_logger_whose_store_is_gone_keeps_its_values(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(tracking_uri=uri)
    again = pickle.loads(pickle.dumps(logger))
    logger.close()
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 1000)
    again.log_single_metric("loss", 1.0, 0)
    again.close()
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert '"loss"' in (folder / "metrics.jsonl").read_text()
    assert "cannot be used" in caplog.text


@pytest.fixture(params=["no library", "no folder", "no answer"])
def broken_files(request: pytest.FixtureRequest, tmp_path: Path, uri: str) -> Iterator[None]:
    """The experiment `mine`, whose runs' files cannot be put where they belong."""
    with contextlib.ExitStack() as stack:
        if request.param == "no library":
            place = "s3://bucket/mine"  # whose library is not installed
        elif request.param == "no folder":
            (tmp_path / "file").touch()
            place = (tmp_path / "file" / "mine").as_uri()
        else:
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            place = f"mlflow-artifacts://127.0.0.1:{silent.getsockname()[1]}/mine"
        MlflowClient(uri).create_experiment("mine", artifact_location=place)
        yield


@pytest.mark.usefixtures("broken_files")
def test_numbers_and_states_arrive_whatever_becomes_of_files(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sender, "CLOSE_SECONDS", 1e6)  # for numbers, however busy the machine is
    with MLflowLogger("mine", tracking_uri=uri) as logger:
        files = logger._sender._threads["The place of {}'s files"]
        wait_for_files = files.join
        monkeypatch.setattr(files, "join", lambda _: wait_for_files(1.0))
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
        logger.log_single_metric("matrix", torch.eye(2), 1)
        logger.log_single_metric("loss", 0.5, 1)
    run = MlflowClient(uri).get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert history(MlflowClient(uri), logger.run_id, "loss") == [(0, 1.0), (1, 0.5)]
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert {file.name for file in (folder / "artifacts" / "matrix").iterdir()} == {
        "step_0000.csv",
        "step_0001.csv",
    }
    assert (folder / "metrics.jsonl").read_text() == ""
    assert "The place of " in caplog.text
    assert "2 files are not in MLflow" in caplog.text
    assert "matrix/step_0000.csv" in caplog.text


def test_what_was_kept_is_sent_but_for_files_that_cannot_be(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger("mine", tracking_uri="http://127.0.0.1:1") as logger:
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    client = MlflowClient(uri)
    experiment = client.create_experiment("mine", artifact_location="s3://bucket/mine")
    for _ in range(2):
        with pytest.raises(TrackingError, match=r"are in MLflow, but .*boto3"):
            send_kept(folder, uri)
    (run,) = client.search_runs([experiment])
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})


def test_a_folder_that_keeps_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"has no run.json. Name the .* mlflow-unsent"):
            send_kept(folder, "sqlite:///mlflow.db")
    assert not list(tmp_path.iterdir())


def test_a_kept_folder_is_closed_again(uri: str, tmp_path: Path) -> None:
    kept = LocalRun.new()
    kept.write_settings(RunSettings("mine", None, {}, {}), "KILLED")
    kept.add(Metric("loss", 1.0, 0, 0))
    kept.close()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        send_kept(kept.folder, uri)
    assert not [warning for warning in found if kept.folder.name in str(warning.message)]


def test_a_relative_address_is_made_absolute_with_all_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path.as_posix()
    assert store.absolute("sqlite:///a.db") == f"sqlite:///{place}/a.db"
    assert store.absolute("sqlite:///a.db?timeout=30") == f"sqlite:///{place}/a.db?timeout=30"
    assert store.absolute("sqlite+pysqlite:///a.db") == f"sqlite+pysqlite:///{place}/a.db"
    for uri in ("sqlite:////a.db?timeout=30", "sqlite://", "http://host:5000", "postgresql://h/d"):
        assert store.absolute(uri) == uri


def test_a_store_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="nonsense://x"):
        MLflowLogger(tracking_uri="nonsense://x")


def test_values_after_the_end_are_refused_with_a_message(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(tracking_uri=uri)
    logger.close()
    logger.close()
    for step in range(3):
        logger.log_single_metric("loss", 1.0, step)
    assert caplog.text.count("after close()") == 1


def test_what_cannot_be_kept_ends_no_training(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        (folder,) = tmp_path.glob("mlflow-unsent-*")
        (folder / "artifacts").touch()  # in place of a folder
        for step in range(2):
            logger.log_single_metric("matrix", torch.eye(2), step)
            logger.log_single_metric("loss", 1.0, step)
    assert history(MlflowClient(uri), logger.run_id, "loss") == [(0, 1.0), (1, 1.0)]
    assert caplog.text.count("is not logged") == 1


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings can be written."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local_run, "write_atomically", refuse)


def fill_disk(folder: Path) -> None:
    """Lets no number be written to a run's folder any more."""
    (folder / "metrics.jsonl").symlink_to("/dev/full")


def test_a_full_disk_keeps_no_number_from_a_store(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        (folder,) = tmp_path.glob("mlflow-unsent-*")
        fill_disk(folder)
        for step in range(3):
            logger.log_single_metric("loss", float(step), step)
    assert history(MlflowClient(uri), logger.run_id, "loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert MlflowClient(uri).get_run(logger.run_id).info.status == "FINISHED"
    assert caplog.text.count("waits in memory") == caplog.text.count("No space left") == 1
    assert not folder.exists()


@pytest.mark.usefixtures("no_room")
def test_a_run_begins_and_ends_on_a_full_disk(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        logger.log_single_metric("loss", 1.0, 0)
    run = MlflowClient(uri).get_run(logger.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert caplog.text.count("No space left") == 1
    assert not list(tmp_path.glob("mlflow-unsent-*"))


@pytest.mark.usefixtures("no_room")
def test_what_neither_store_nor_disk_takes_is_said_to_be_lost(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(tracking_uri=uri) as logger:
        MlflowClient(uri).delete_run(logger.run_id)
        (folder,) = tmp_path.glob("mlflow-unsent-*")
        fill_disk(folder)
        logger.log_single_metric("loss", 1.0, 0)
    assert "has refused: " in caplog.text
    assert "1 numbers are lost" in caplog.text


def test_a_folder_that_fails_for_a_moment_does_not_end_the_sending(
    uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    has_failed = threading.Event()
    metrics = LocalRun.metrics

    def fail_once(local: LocalRun) -> list[Metric]:
        if has_failed.is_set():
            return metrics(local)
        has_failed.set()
        raise FolderError("the disk does not answer")

    monkeypatch.setattr(LocalRun, "metrics", fail_once)
    with MLflowLogger(tracking_uri=uri) as logger:
        assert has_failed.wait(600)
        logger.log_single_metric("loss", 1.0, 0)
    assert history(MlflowClient(uri), logger.run_id, "loss") == [(0, 1.0)]
    assert caplog.text.count("the disk does not answer") == 1


def test_a_disk_that_becomes_full_leaves_whole_rows(tmp_path: Path) -> None:
    local = LocalRun(tmp_path)
    rows = [Metric("loss", float(step), 0, step) for step in range(3)]
    local.add(rows[0])
    size = (tmp_path / "metrics.jsonl").stat().st_size
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, most))
    try:
        with pytest.raises(FolderError, match="too large"):
            local.add(rows[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert (tmp_path / "metrics.jsonl").stat().st_size == size
    local.add(rows[2])
    assert [row.step for row in local.metrics()] == [0, 2, 1]
    local.write_rest()
    written = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in written] == [0, 2, 1]


def test_a_server_that_does_not_answer_costs_no_values(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(
        "mine", run_name="kept", tracking_uri="http://127.0.0.1:1", parameters={"lr": 0.1}
    ) as logger:
        train(logger)
    assert logger.run_id is None
    warning, files = [r for r in caplog.records if r.name == sender.__name__]
    assert "6 files are not in MLflow" in files.getMessage()
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert "does not answer" in warning.getMessage()
    assert str(folder / "metrics.jsonl") in warning.getMessage()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"avalanche/Top1_Acc_Stream/eval_phase/test_stream/Task000"} <= {
        row["key"] for row in rows
    }

    client = MlflowClient(uri)
    run = client.get_run(send_kept(folder, uri))
    assert run.info.run_name == "kept"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1"}
    assert run.data.metrics["features/orthogonality/coherence"] == 0.25
    assert client.list_artifacts(run.info.run_id)


def test_a_server_that_stops_answering_holds_up_nobody_for_long(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sender, "CLOSE_SECONDS", 0.5)
    # So that the thread, too, is soon done with it.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logger = MLflowLogger(tracking_uri=uri)
    logger.log_single_metric("loss", 0.0, 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and never says a word.
        dead = MlflowClient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(logger._sender, "_client", dead)
        logger.log_single_metric("loss", 1.0, 1)
        logger.close()
        (folder,) = tmp_path.glob("mlflow-unsent-*")
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["value"] for row in rows} >= {1.0}
    assert "has not taken everything" in caplog.text

    # What was under way when the server went is sent to the run that had been begun.
    assert send_kept(folder, uri) == logger.run_id
    assert dict(history(MlflowClient(uri), logger.run_id, "loss"))[1] == 1.0


def test_who_is_asked_to_end_does_not_wait_for_a_server_until_it_is_killed(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "CLOSE_SECONDS", 1e9)
    monkeypatch.setattr(sender, "_SIGTERM_SECONDS", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    killed: list[int] = []
    monkeypatch.setattr(sender.os, "kill", lambda process, number: killed.append(number))
    logger = MLflowLogger(tracking_uri=uri)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = MlflowClient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(logger._sender, "_client", dead)
        logger.log_single_metric("loss", 1.0, 1)
        signal.raise_signal(signal.SIGTERM)
    logger.close()
    assert killed == [signal.SIGTERM]
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert json.loads((folder / "metrics.jsonl").read_text())["value"] == 1.0
    assert json.loads((folder / "run.json").read_text())["status"] == "KILLED"


@pytest.mark.parametrize(("adding", "value"), [("_add_row", 0.5), ("_add_file", torch.eye(3))])
def test_the_end_of_a_process_may_come_while_something_is_kept(
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    adding: str,
    value: Any,
) -> None:
    monkeypatch.setattr(sender, "_SIGTERM_SECONDS", 600.0)
    killed: list[int] = []
    monkeypatch.setattr(sender.os, "kill", lambda process, number: killed.append(number))
    add = getattr(LocalRun, adding)

    def interrupted(local: LocalRun, item: Any) -> None:
        monkeypatch.setattr(LocalRun, adding, add)
        signal.raise_signal(signal.SIGTERM)
        add(local, item)

    logger = MLflowLogger(tracking_uri=uri)
    logger.log_single_metric("loss", 1.0, 0)
    logger.log_single_metric("matrix", torch.eye(2), 0)
    monkeypatch.setattr(LocalRun, adding, interrupted)
    logger.log_single_metric("late", value, 0)
    assert killed == [signal.SIGTERM]
    client = MlflowClient(uri)
    run = client.get_run(logger.run_id)
    assert (run.info.status, run.data.metrics) == ("KILLED", {"loss": 1.0})
    assert client.list_artifacts(logger.run_id, "matrix")
    assert "has not taken everything" not in caplog.text
    assert caplog.text.count("is not logged") == 1  # the value that came too late
    assert not list(tmp_path.glob("mlflow-unsent-*"))


def test_a_refused_call_keeps_the_values(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(tracking_uri=uri)
    MlflowClient(uri).delete_run(logger.run_id)
    logger.log_single_metric("loss", 1.0, 0)
    logger.close()
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert '"loss"' in (folder / "metrics.jsonl").read_text()
    assert "has refused: " in caplog.text


def test_a_real_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with MLflowLogger("over the wire") as logger:
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
    client = MlflowClient(server)
    assert client.get_run(logger.run_id).data.metrics == {"loss": 1.0}
    fetched = client.download_artifacts(logger.run_id, "matrix/step_0000.csv", str(tmp_path))
    assert Path(fetched).read_text() == "1,0\n0,1\n"
