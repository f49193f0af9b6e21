"""An Avalanche logger that writes to MLflow without holding up the training."""

from __future__ import annotations

import io
import logging
import math
import numbers
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import mlflow
import numpy as np
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metric_results import AlternativeValues, MetricValue, TensorImage
from avalanche.logging import BaseLogger
from matplotlib.figure import Figure
from mlflow.entities import Metric
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from simo_cl.tracking import store
from simo_cl.tracking.run_items import File, RunToBe
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.unsent import send_kept
from simo_cl.tracking.writer import Writer

__all__ = ["MLflowLogger", "TrackingError", "send_kept"]

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
        run = RunToBe(
            experiment, run_name, store.flat_parameters(parameters or {}), dict(tags or {})
        )
        self._writer = Writer(tracking_uri, run)
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
        self._writer.put(File(f"{name}/step_{step:04d}.{ending}", content))
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


def _close_at_end(writer: Writer) -> None:
    """For a logger that nobody closed: at the end of the process, or when it is forgotten."""
    # In an interactive session an earlier error says nothing about how the run went.
    kind = None if hasattr(sys, "ps1") else getattr(sys, "last_type", None)
    writer.close(_status_after(kind))


def _status_after(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "FINISHED"
    return "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
