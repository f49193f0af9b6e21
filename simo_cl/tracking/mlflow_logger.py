"""An Avalanche logger that writes to MLflow without holding up the training."""

from __future__ import annotations

import io
import json
import logging
import math
import numbers
import queue
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metric_results import AlternativeValues, MetricValue, TensorImage
from avalanche.logging import BaseLogger
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from simo_cl.tracking import store
from simo_cl.tracking.store import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MLflowLogger", "TrackingError", "send_kept"]

# How long the end of a run waits for a slow server, and how long values gather before a call.
CLOSE_SECONDS = 30.0
GATHER_SECONDS = 1.0

_log = logging.getLogger(__name__)


class MLflowLogger(BaseLogger, SupervisedPlugin):
    """Logs an Avalanche experiment to one MLflow run.

    Give it to an ``EvaluationPlugin``::

        with MLflowLogger("mine", parameters={"lr": 0.1}) as logger:
            evaluator = EvaluationPlugin(orthogonality_metrics(), loggers=[logger])
            ...

    Numbers are sent in batches by a thread of their own; figures and matrices become artifacts
    (``<metric>/step_0003.png`` and ``.csv``). Avalanche's own metrics go under ``avalanche/``
    with the names Avalanche gives them, all others under their own names. The step of what is
    measured in evaluation is the index of the experience last trained on (-1 before the first),
    that of Avalanche's training metrics its count of training iterations. Values that are not
    finite are not sent, because they empty MLflow's charts; a message says so once a metric.

    Without ``with``, call `close` after the last evaluation, or leave it to the end of the
    process. When a server does not answer, a warning says so, the training goes on, and what
    could not be sent is kept in a local folder for `send_kept`.

    Args:
        experiment: name of the MLflow experiment; made if it is missing.
        run_name: name of the run; by default MLflow invents one.
        tracking_uri: any MLflow store; by default the one set in MLflow or in
            ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in the working folder.
        parameters: settings to show with the run, nested as you like.
        tags: MLflow tags of the run.

    Attributes:
        run_id: MLflow's identifier of the run; None when the server did not answer.

    Raises:
        TrackingError: a store that is not a server cannot be used.
    """

    def __init__(
        self,
        experiment: str = "mine",
        *,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if tracking_uri is None:
            is_set = mlflow.is_tracking_uri_set()
            tracking_uri = mlflow.get_tracking_uri() if is_set else "sqlite:///mlflow.db"
        run = _RunToBe(
            experiment, run_name, store.flat_parameters(parameters or {}), dict(tags or {})
        )
        self._writer = _Writer(tracking_uri, run)
        self.run_id = self._writer.run_id
        self._experience = -1
        self._mentioned: set[str] = set()
        # Not bound to self, so that a forgotten logger is collected, and then closed.
        self._at_end = weakref.finalize(self, _close_at_end, self._writer)

    def close(self, status: str = "FINISHED") -> None:
        """Sends what is left, waiting for half a minute at most, and ends the run."""
        self._at_end.detach()
        self._writer.close(status)

    def __enter__(self) -> MLflowLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(_status_after(kind))

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        """Avalanche's hook: notes which experience the coming values belong to."""
        # An online stream cuts an experience into many; the step is that of the whole one.
        experience = getattr(strategy.experience, "origin_experience", strategy.experience)
        self._experience = int(experience.current_experience)

    def log_metrics(self, metric_values: Sequence[MetricValue]) -> None:
        """Avalanche's hook: receives what the metrics have emitted."""
        for metric in metric_values:
            name, step = metric.name, metric.x_plot
            if type(metric.origin).__module__.partition(".")[0] == "avalanche":
                step = self._experience if "/eval_phase/" in name else step
                name = f"avalanche/{name}"
            values = metric.value if isinstance(metric.value, dict) else {"": metric.value}
            for key, value in values.items():
                self.log_single_metric(f"{name}/{key}" if key else name, value, step)

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        """Logs one value, under exactly this name and step."""
        name = store.accepted_name(name)
        alternatives = value.alternatives if isinstance(value, AlternativeValues) else (value,)
        taken = [self._log_one(name, alternative, int(x_plot)) for alternative in alternatives]
        if not any(taken):
            kinds = ", ".join(type(alternative).__name__ for alternative in alternatives)
            self._mention(name, f"{name} is not logged: no numbers or image, but {kinds}")

    def _log_one(self, name: str, value: Any, step: int) -> bool:
        """Takes one representation of a value; whether it is of a kind that MLflow can show."""
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, numbers.Real):
            self._log_number(name, float(value), step)
            return True
        file = _file_of(value)
        if file is None:
            return False
        ending, content = file
        self._writer.put(_File(f"{name}/step_{step:04d}.{ending}", content))
        return True

    def _log_number(self, name: str, value: float, step: int) -> None:
        if math.isfinite(value):
            self._writer.put(Metric(name, value, int(time.time() * 1000), step))
        else:
            self._mention(
                name, f"{name} became {value} at step {step}; such values are not sent to MLflow"
            )

    def _mention(self, name: str, message: str) -> None:
        if name not in self._mentioned:
            self._mentioned.add(name)
            _log.warning(message)


def send_kept(folder: str | Path, tracking_uri: str) -> str:
    """Sends what an `MLflowLogger` kept in a folder because its server did not answer.

    Args:
        folder: the folder that the logger's warning named.
        tracking_uri: the MLflow store to send to.

    Returns:
        The MLflow run's identifier: the run that had been begun, else a new one.

    Raises:
        TrackingError: the store cannot be used.
    """
    folder = Path(folder)
    kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run_id, status = kept.pop("run_id"), kept.pop("status")
    client = store.open_client(tracking_uri)
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    with store.tracking_errors(tracking_uri):
        run_id = run_id or _RunToBe(**kept).begin(client)
        store.log_all(client, run_id, metrics=[Metric(**row) for row in rows])
        if (folder / "artifacts").is_dir():
            client.log_artifacts(run_id, str(folder / "artifacts"))
        client.set_terminated(run_id, status)
    return run_id


@dataclass(frozen=True)
class _RunToBe:
    experiment: str
    run_name: str | None
    parameters: dict[str, str]
    tags: dict[str, str]

    def begin(self, client: MlflowClient) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        run = client.create_run(
            store.experiment_id(client, self.experiment),
            tags=resolve_tags(self.tags),
            run_name=self.run_name,
        )
        run_id = str(run.info.run_id)
        parameters = [Param(name, text) for name, text in self.parameters.items()]
        store.log_all(client, run_id, parameters=parameters)
        return run_id


@dataclass(frozen=True)
class _File:
    path: str  # inside the run's artifacts
    content: bytes


@dataclass(frozen=True)
class _End:
    status: str


_Item = Metric | _File | _End


class _Writer:
    """Sends to one run from a thread of its own; what cannot be sent it keeps on disk.

    While a server is away, MLflow itself tries again for minutes, which only this thread notices.
    After that everything goes to the folder.
    """

    def __init__(self, uri: str, run: _RunToBe) -> None:
        self.run_id: str | None = None
        self._uri = uri
        self._run = run
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._in_flight: list[_Item] = []
        self._lock = threading.Lock()  # over _kept and what goes into it
        self._kept: _Kept | None = None
        self._ended = False
        self._client = self._begin()
        self._thread = threading.Thread(target=self._write, name="simo_cl-mlflow", daemon=True)
        self._thread.start()

    def put(self, item: Metric | _File) -> None:
        if self._ended:
            _log.warning("the MLflow run has ended; what is measured after close() is not logged")
        else:
            self._items.put(item)

    def close(self, status: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._items.put(_End(status))
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"has not taken everything within {CLOSE_SECONDS:.0f} s")
            # What went into the folder held the thread's own sign to stop.
            self._items.put(_End(status))

    def _begin(self) -> MlflowClient | None:
        """The one talk to the server on the caller's thread: bounded, and before any training."""
        try:
            client = store.open_client(self._uri)
            with store.quick_requests(), store.tracking_errors(self._uri):
                self.run_id = self._run.begin(client)
        except TrackingError as error:
            if not self._uri.startswith(("http://", "https://")):
                raise
            self._give_up(f"cannot be used: {str(error).splitlines()[0]}")
            return None
        return client

    def _write(self) -> None:
        """The thread: takes what has gathered and sends it, or keeps it, until the end."""
        ended = False
        while not ended:
            self._in_flight = self._gathered()
            ended = isinstance(self._in_flight[-1], _End)
            if self._kept is None:
                try:
                    self._send(self._in_flight)
                    self._in_flight = []
                except Exception as error:
                    # Whatever it is, it must end neither the training nor the record of it.
                    self._give_up(f"has refused values: {error}")
            self._keep_rest()

    def _gathered(self) -> list[_Item]:
        """Waits for an item, then for more until there is enough for one call."""
        items = [self._items.get()]
        until = time.monotonic() + GATHER_SECONDS
        while len(items) < store.METRICS_PER_CALL and not isinstance(items[-1], _End):
            try:
                items.append(self._items.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return items

    def _send(self, items: Sequence[_Item]) -> None:
        assert self._client is not None
        assert self.run_id is not None
        metrics = [item for item in items if isinstance(item, Metric)]
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)
        files = [item for item in items if isinstance(item, _File)]
        if files:
            with tempfile.TemporaryDirectory() as folder:
                _write_files(files, Path(folder))
                for file in files:
                    # One by one: log_artifacts starts threads, which a process that is ending
                    # may not.
                    place = file.path.rpartition("/")[0]
                    self._client.log_artifact(self.run_id, f"{folder}/{file.path}", place)
        if isinstance(items[-1], _End):
            self._client.set_terminated(self.run_id, items[-1].status)

    def _give_up(self, reason: str) -> None:
        """From here on values go to a folder; says so, and how to get them from there."""
        with self._lock:
            first = self._kept is None
            if self._kept is None:
                self._kept = _Kept(self._run, self.run_id)
            folder = self._kept.folder
        self._keep_rest()
        if first:
            _log.warning(
                "The MLflow store %s %s\nThe training goes on; what is not sent is kept in %s. "
                "Send it later: simo_cl.tracking.mlflow_logger.send_kept(%r, tracking_uri)",
                *(self._uri, reason, folder / "metrics.jsonl", str(folder)),
            )

    def _keep_rest(self) -> None:
        """Once given up: puts what is being sent and what is waiting into the folder."""
        with self._lock:
            if self._kept is None:
                return
            rest, self._in_flight = self._in_flight, []
            while not self._items.empty():
                rest.append(self._items.get())
            self._kept.add(rest)


class _Kept:
    """A folder of what could not be sent."""

    def __init__(self, run: _RunToBe, run_id: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-unsent-", dir="."))
        self.folder = self.folder.resolve()
        self._run = {**asdict(run), "run_id": run_id, "status": "FINISHED"}
        self._write_run()
        (self.folder / "metrics.jsonl").touch()

    def add(self, items: Sequence[_Item]) -> None:
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            for item in items:
                if isinstance(item, Metric):
                    row = {
                        "key": item.key,
                        "value": item.value,
                        "timestamp": item.timestamp,
                        "step": item.step,
                    }
                    file.write(json.dumps(row) + "\n")
        files = [item for item in items if isinstance(item, _File)]
        _write_files(files, self.folder / "artifacts")
        for item in items:
            if isinstance(item, _End):
                self._run["status"] = item.status
                self._write_run()

    def _write_run(self) -> None:
        # In one step: the thread may write once more while the folder is being read already.
        new = self.folder / "run.json.new"
        new.write_text(json.dumps(self._run), encoding="utf-8")
        new.replace(self.folder / "run.json")


def _write_files(files: Sequence[_File], folder: Path) -> None:
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


def _file_of(value: Any) -> tuple[str, bytes] | None:
    """A figure, image or matrix as a file's ending and content; None for anything else.

    Made at once, on the caller's thread: a figure may be drawn into again after it was logged.
    """
    content = io.BytesIO()
    if isinstance(value, Figure):
        value.savefig(content, format="png")
    elif isinstance(value, TensorImage):
        to_pil_image(value.image).save(content, format="png")
    elif isinstance(value, Image):
        value.save(content, format="png")
    elif isinstance(value, (Tensor, np.ndarray)) and 1 <= value.ndim <= 2:
        matrix = value.detach().cpu() if isinstance(value, Tensor) else value
        np.savetxt(content, np.asarray(matrix, dtype=np.float64), fmt="%.6g", delimiter=",")
        return "csv", content.getvalue()
    else:
        return None
    return "png", content.getvalue()


def _close_at_end(writer: _Writer) -> None:
    """For a logger that nobody closed: at the end of the process, or when it is forgotten."""
    # In an interactive session an earlier error says nothing about how the run went.
    kind = None if hasattr(sys, "ps1") else getattr(sys, "last_type", None)
    writer.close(_status_after(kind))


def _status_after(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "FINISHED"
    return "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
