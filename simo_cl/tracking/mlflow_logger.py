"""An Avalanche logger that writes to MLflow without holding up the training."""

from __future__ import annotations

import io
import logging
import math
import numbers
import os
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
from simo_cl.tracking.local_run import File, RunSettings, send_kept
from simo_cl.tracking.sender import Sender
from simo_cl.tracking.store import TrackingError

__all__ = ["MLflowLogger", "TrackingError", "send_kept"]

_log = logging.getLogger(__name__)
_Ended = Literal["FINISHED", "FAILED", "KILLED"]


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
    process. A run that ends in another way is marked so: as KILLED after Ctrl-C or SIGTERM, as
    FAILED after an exception or in the middle of a training. When a server does not answer, a
    warning says so, the training goes on, and what could not be sent is kept in a local folder for
    `send_kept`; so are files alone, when the place of a store's files cannot be used.

    A run that is named is gone on with: by ``run_id``, as the active run of ``mlflow.start_run``
    (which then ends it), or by ``MLFLOW_RUN_ID``. A logger that is pickled, as by Avalanche's
    ``save_checkpoint``, goes on with its run when it is loaded. The pickle holds ``tracking_uri``
    as given: a password is better kept in MLflow's ``MLFLOW_TRACKING_PASSWORD``.

    Args:
        experiment: name of a new run's MLflow experiment; made if it is missing.
        run_name: name of a new run; by default MLflow invents one.
        tracking_uri: any MLflow store; by default the one set in MLflow or in
            ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in the working folder.
        run_id: MLflow's identifier of a run to go on with.
        parameters: settings to show with the run, nested as you like, each as
            ``mlflow.log_params`` shows it.
        tags: MLflow tags of the run.

    Attributes:
        run_id: MLflow's identifier of the run; None when the server did not answer.

    Raises:
        TypeError: the name of the experiment is no text.
        TrackingError: a store that is not a server cannot be used, or there is no such run.

    Example:
        >>> from avalanche.training.plugins import EvaluationPlugin
        >>> with MLflowLogger("mine", parameters={"lr": 0.1}) as logger:  # doctest: +SKIP
        ...     evaluator = EvaluationPlugin(orthogonality_metrics(), loggers=[logger])
    """

    def __init__(
        self,
        experiment: str = "mine",
        *,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(experiment, str):
            raise TypeError(f"experiment is the name of one, as 'mine', got {experiment!r}")
        named, self._is_ours = _named_run(run_id, tracking_uri)
        self._uri = store.absolute(tracking_uri or _default_store())
        parts = store.flat_parameters(parameters or {}, str), dict(tags or {})
        self._run = RunSettings(experiment, run_name, *parts, named)
        self._experience = -1
        self._mentioned: set[str] = set()
        self._sender: Sender | None = None
        self._open()

    @property
    def run_id(self) -> str | None:
        """MLflow's identifier of the run."""
        return self._run.run_id

    def close(self, status: _Ended = "FINISHED") -> None:
        """Sends what is left, waiting for half a minute at most, and ends the run."""
        if self._sender is not None:
            self._at_end.detach()
            self._sender.close(status)

    def __getstate__(self) -> dict[str, Any]:
        """All but what sends: a copy begins to send with the first that it is given."""
        return {n: v for n, v in self.__dict__.items() if n not in ("_sender", "_at_end")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Wherever it is loaded, nobody else may be there to end the run.
        self.__dict__.update(state, _sender=None, _is_ours=True)

    def _opened(self) -> Sender:
        return self._sender or self._open(is_late=True)

    def _open(self, *, is_late: bool = False) -> Sender:
        sender = Sender(self._uri, self._run, is_ours=self._is_ours, is_late=is_late)
        self._sender, self._run = sender, sender.run
        # Not bound to self, so that a forgotten logger is collected, and then closed.
        self._at_end = weakref.finalize(self, _close_at_end, sender)
        return sender

    def __enter__(self) -> MLflowLogger:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close(_status_after(error))

    def before_training(self, *args: Any, **kwargs: Any) -> None:
        """Avalanche's hook: what ends before `after_training` has failed."""
        self._opened().is_training = True

    def after_training(self, *args: Any, **kwargs: Any) -> None:
        """Avalanche's hook."""
        self._opened().is_training = False

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
        name, step = store.accepted_name(name), int(x_plot)
        alternatives = value.alternatives if isinstance(value, AlternativeValues) else (value,)
        found = [_item_of(name, alternative, step) for alternative in alternatives]
        items = [item for item in found if item is not None]
        if not items:
            kinds = ", ".join(type(alternative).__name__ for alternative in alternatives)
            self._mention(name, f"{name} is not logged: no numbers or image, but {kinds}")
        for item in items:
            if isinstance(item, File) or math.isfinite(item.value):
                self._opened().put(item)
            else:
                such = f"{name} became {item.value} at step {step}; such values"
                self._mention(name, f"{such} are not sent to MLflow")

    def _mention(self, name: str, message: str) -> None:
        if name not in self._mentioned:
            self._mentioned.add(name)
            _log.warning(message)


def _item_of(name: str, value: Any, step: int) -> Metric | File | None:
    """A number, or a figure, image or matrix as a file; None for anything else.

    A file is made at once, on the caller's thread: a figure may be drawn into again afterwards.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, numbers.Real):
        return Metric(name, float(value), store.milliseconds(time.time()), step)
    content, ending = io.BytesIO(), "png"
    if isinstance(value, Figure):
        value.savefig(content, format="png")
    elif isinstance(value, TensorImage):
        to_pil_image(value.image).save(content, format="png")
    elif isinstance(value, Image):
        value.save(content, format="png")
    elif isinstance(value, (Tensor, np.ndarray)) and 1 <= value.ndim <= 2:
        ending = "csv"
        matrix = value.detach().cpu() if isinstance(value, Tensor) else value
        np.savetxt(content, np.asarray(matrix, dtype=np.float64), fmt="%.6g", delimiter=",")
    else:
        return None
    return File(f"{name}/step_{step:04d}.{ending}", content.getvalue())


def _default_store() -> str:
    is_set = mlflow.is_tracking_uri_set() or mlflow.active_run() is not None
    return mlflow.get_tracking_uri() if is_set else "sqlite:///mlflow.db"


def _named_run(run_id: str | None, tracking_uri: str | None) -> tuple[str | None, bool]:
    """The run to go on with, if one is named, and whether it is ours to end."""
    active = mlflow.active_run()
    if active is not None and tracking_uri in (None, mlflow.get_tracking_uri()):
        active_id = str(active.info.run_id)
        if run_id in (None, active_id):
            return active_id, False
    # As MLflow's own start_run: the variable names the first run of a process alone.
    return run_id or os.environ.pop("MLFLOW_RUN_ID", None), True


def _close_at_end(sender: Sender) -> None:
    """For a logger that nobody closed: at the end of the process, or when it is forgotten."""
    # In an interactive session an earlier error says nothing about how the run went.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    status = _status_after(error)
    sender.close("FAILED" if status == "FINISHED" and sender.is_training else status)


def _status_after(error: BaseException | None) -> _Ended:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
