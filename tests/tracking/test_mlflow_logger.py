from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.benchmarks import tensors_benchmark
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import AlternativeValues, MetricValue, TensorImage
from avalanche.evaluation.metrics import accuracy_metrics, confusion_matrix_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from matplotlib.figure import Figure
from mlflow import MlflowClient

from simo_cl.tracking import writer
from simo_cl.tracking.mlflow_logger import MLflowLogger, TrackingError, send_kept


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty SQLite store in the working folder."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writer, "GATHER_SECONDS", 0.05)
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


def train(logger: MLflowLogger, *, evaluate_first: bool = False) -> None:
    """Three experiences of two classes, evaluated after each."""
    torch.manual_seed(0)
    sets = [(torch.randn(8, 4), torch.arange(8) % 2 + 2 * k) for k in range(3)]
    benchmark = tensors_benchmark(sets, sets, task_labels=[0, 0, 0])
    model = torch.nn.Linear(4, 6)
    strategy = Naive(
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
    if evaluate_first:
        strategy.eval(benchmark.test_stream)
    for experience in benchmark.train_stream:
        strategy.train(experience)
        strategy.eval(benchmark.test_stream)


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


def test_an_error_marks_the_run_as_failed(uri: str) -> None:
    def fail() -> None:
        with MLflowLogger(tracking_uri=uri) as logger:
            identifiers.append(logger.run_id)
            raise RuntimeError("boom")

    identifiers: list[str | None] = []
    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert MlflowClient(uri).get_run(identifiers[0]).info.status == "FAILED"


@pytest.mark.parametrize(("ending", "status"), [("", "FINISHED"), ("1 / 0", "FAILED")])
def test_a_logger_that_nobody_closes_is_closed_at_the_end(
    uri: str, tmp_path: Path, ending: str, status: str
) -> None:
    script = f"""
        import torch
        from simo_cl.tracking.mlflow_logger import MLflowLogger
        logger = MLflowLogger("mine", tracking_uri={uri!r})
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
        {ending}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=False)
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.status == status
    assert run.data.metrics == {"loss": 1.0}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "matrix")]


def test_a_store_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="nonsense://x"):
        MLflowLogger(tracking_uri="nonsense://x")


def test_values_after_the_end_are_refused_with_a_message(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(tracking_uri=uri)
    logger.close()
    logger.close()
    logger.log_single_metric("loss", 1.0, 0)
    assert "after close()" in caplog.text


def test_a_server_that_does_not_answer_costs_no_values(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MLflowLogger(
        "mine", run_name="kept", tracking_uri="http://127.0.0.1:1", parameters={"lr": 0.1}
    ) as logger:
        train(logger)
    assert logger.run_id is None
    (warning,) = [r for r in caplog.records if r.name == writer.__name__]
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
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.5)
    # So that the thread, too, is soon done with it.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logger = MLflowLogger(tracking_uri=uri)
    logger.log_single_metric("loss", 0.0, 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and never says a word.
        dead = MlflowClient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(logger._writer, "_client", dead)
        logger.log_single_metric("loss", 1.0, 1)
        logger.close()
        (folder,) = tmp_path.glob("mlflow-unsent-*")
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["value"] for row in rows} >= {1.0}
    assert "has not taken everything" in caplog.text

    # What was under way when the server went is sent to the run that had been begun.
    assert send_kept(folder, uri) == logger.run_id
    assert dict(history(MlflowClient(uri), logger.run_id, "loss"))[1] == 1.0


def test_a_refused_call_keeps_the_values(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLflowLogger(tracking_uri=uri)
    MlflowClient(uri).delete_run(logger.run_id)
    logger.log_single_metric("loss", 1.0, 0)
    logger.close()
    (folder,) = tmp_path.glob("mlflow-unsent-*")
    assert '"loss"' in (folder / "metrics.jsonl").read_text()
    assert "has refused values" in caplog.text


def test_a_real_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with MLflowLogger("over the wire") as logger:
        logger.log_single_metric("loss", 1.0, 0)
        logger.log_single_metric("matrix", torch.eye(2), 0)
    client = MlflowClient(server)
    assert client.get_run(logger.run_id).data.metrics == {"loss": 1.0}
    fetched = client.download_artifacts(logger.run_id, "matrix/step_0000.csv", str(tmp_path))
    assert Path(fetched).read_text() == "1,0\n0,1\n"
