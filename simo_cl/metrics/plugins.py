"""The geometry and the continual-learning metrics as Avalanche plugin metrics.

Both only listen to evaluation: they emit once per ``strategy.eval()``, with the 0-based number of
the experience trained last as the step, and nothing before the first training. Names are those of
docs/metrics.md for the stream called ``test``; for another one they start with its name, as in
``train/average_accuracy``.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from avalanche.evaluation import PluginMetric
from avalanche.evaluation.metric_results import MetricValue
from numpy.typing import NDArray
from torch import Tensor

from simo_cl.metrics.continual import (
    class_accuracy,
    confusion_matrix,
    continual_metrics,
)
from simo_cl.metrics.geometry import simo_similarity
from simo_cl.metrics.heat_maps import MatrixValue, Ticks, heat_map
from simo_cl.metrics.stream_classes import (
    Classes,
    Trained,
    apart,
    class_of_several_tasks,
    stream_classes,
)
from simo_cl.metrics.stream_geometry import Geometry, StreamGeometry
from simo_cl.models.feature_hook import FeatureHook
from simo_cl.models.pooling import Pool

# The geometry's time grows with the square of the sample: 0.4 s for this many samples.
_MOST_SAMPLES = 2000
_MOST_SAMPLES_SHOWN = 200

_NOT_THERE: Classes = frozenset({(-1, -1)})

Metrics = dict[str, "float | MatrixValue"]


def orthogonality_metrics(
    *,
    layer: str | None = None,
    pool: Pool | None = None,
    samples_per_class: int = 100,
    epsilon: float = 0.1,
    space: str = "features",
) -> list[PluginMetric[dict[str, float]]]:
    """The geometry of a model's features, for the ``EvaluationPlugin`` of any experiment.

    Features are taken from the forward passes of the evaluation, for samples of classes trained
    on so far; no extra pass is made, and training is not touched. Each ``strategy.eval()`` emits
    every metric of ``geometry_metrics`` as ``features/...`` and, after subtracting the global
    mean, as ``features_centred/...``; ``drift/class_mean`` in both from the second experience on;
    and as matrices (a tensor and a figure) ``class_mean_cos``, ``simo_similarity`` of the class
    means and ``simo_similarity_samples`` of a few samples a class.

    Args:
        layer: name of the layer whose output is measured, as in ``model.named_modules()``; by
            default the *input* of the model's last ``nn.Linear``, and with Avalanche's SCR and
            iCaRL the output of ``feature_extractor``. Feature maps and tokens are averaged over
            their positions where it is known which axis is the channels', and refused elsewhere;
            see :class:`simo_cl.models.feature_hook.FeatureHook`.
        pool: makes features (N, d) of the layer's output, instead of that average.
        samples_per_class: the first so many samples of each class in the evaluation are measured,
            fewer when there are so many classes that they would exceed 2,000 in all.
        epsilon: the SimO loss's epsilon, for the SimO similarities.
        space: first part of the metrics' names, for measuring several layers side by side.

    Raises:
        ValueError: a setting below its minimum; when training starts, a layer that the model does
            not have; in the evaluation, a layer that is not run there or does not give one feature
            vector a sample, and class numbers that stand in several tasks.

    Example:
        >>> from avalanche.training.plugins import EvaluationPlugin
        >>> evaluator = EvaluationPlugin(orthogonality_metrics(samples_per_class=50), loggers=[])
    """
    if samples_per_class < 2:
        raise ValueError(f"samples_per_class must be at least 2, got {samples_per_class}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    return [GeometryMetric(FeatureHook(layer, pool), samples_per_class, epsilon, space)]


def continual_learning_metrics() -> list[PluginMetric[dict[str, float]]]:
    """Average accuracy, forgetting and their kin, for the ``EvaluationPlugin`` of any experiment.

    Each ``strategy.eval()`` adds a row to the accuracy matrix, from the largest output per sample,
    and emits every metric of ``continual_metrics`` that is defined so far, ``new_class_accuracy``,
    ``old_class_accuracy``, ``class_accuracy/<class>`` of each class trained on so far, and as
    matrices (a tensor and a figure) ``accuracy_matrix`` and ``confusion_matrix``. Evaluating again
    before the next training replaces the row; of one stream, experiences may also be evaluated in
    calls of their own. Training once on all experiences (one experience, or Avalanche's
    ``JointTraining``) gives the averages over all of them.

    Accuracies are of evaluation experience i for training experience i, where it has only classes
    of that; else, where no class is in two training experiences, of the classes of each; else of
    each evaluation experience alone, without what compares experiences. docs/metrics.md says what
    is defined for which streams; what is not is named in a warning at the first evaluation. The
    model has to give class scores in evaluation.

    Raises:
        ValueError: in the evaluation, outputs that are not (N, classes).

    Example:
        >>> from avalanche.training.plugins import EvaluationPlugin
        >>> evaluator = EvaluationPlugin(continual_learning_metrics(), orthogonality_metrics())
    """
    return [ContinualMetric()]


class _OncePerEvaluation(PluginMetric[dict[str, float]]):
    """Emits after an evaluation, of its stream, and knows what was trained before."""

    def __init__(self) -> None:
        super().__init__()
        self._trained = Trained()
        self._classes_of: dict[str, dict[int, Classes]] = {}
        self._values: dict[str, float] = {}
        self._stream = ""
        self.reset()

    def result(self) -> dict[str, float]:
        """The scalars of the last evaluation, by name."""
        return self._values

    def before_training_exp(self, strategy: Any) -> None:
        self._trained.begin(strategy)

    def before_eval(self, strategy: Any) -> None:
        self.reset()
        self._values = {}

    def before_eval_exp(self, strategy: Any) -> None:
        super().before_eval_exp(strategy)
        self._stream = strategy.experience.origin_stream.name
        if self._trained.step >= 0 and self._stream not in self._classes_of:
            self._classes_of[self._stream] = stream_classes(strategy.experience)
            self._meet_stream()

    def _meet_stream(self) -> None:
        """Called when a stream is evaluated for the first time after a training."""

    @property
    def _in_several_tasks(self) -> tuple[int, list[int]] | None:
        evaluated = self._classes_of[self._stream]
        return class_of_several_tasks([*self._trained.stream.values(), *evaluated.values()])

    def _emit(self, emitted: Metrics) -> list[MetricValue]:
        self._values = {n: value for n, value in emitted.items() if isinstance(value, float)}
        prefix, step = "" if self._stream == "test" else f"{self._stream}/", self._trained.step
        return [MetricValue(self, prefix + name, value, step) for name, value in emitted.items()]


class GeometryMetric(_OncePerEvaluation):
    """See ``orthogonality_metrics``."""

    def __init__(
        self, hook: FeatureHook, samples_per_class: int, epsilon: float, space: str
    ) -> None:
        super().__init__()
        self._samples_per_class = samples_per_class
        self._epsilon = epsilon
        self._space = space
        self._hook = hook
        self._geometry: dict[str, StreamGeometry] = {}

    def reset(self) -> None:
        """Forgets the samples of the current evaluation."""
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._num_kept: dict[int, int] = defaultdict(int)

    def before_training_exp(self, strategy: Any) -> None:
        super().before_training_exp(strategy)
        # An unknown layer is an error before the training, not after it.
        self._hook.attach(strategy.model)
        self._hook.detach()

    def _meet_stream(self) -> None:
        several = self._in_several_tasks
        if several is not None:
            del self._classes_of[self._stream]  # so that it is refused another time, too
            raise ValueError(
                f"orthogonality_metrics needs numbers of its own for the classes of each task, and "
                f"{_in_tasks(*several)}; make the benchmark with class numbers that go on from "
                "task to task (class_ids_from_zero_in_each_exp=False), or evaluate without it"
            )

    def before_eval_forward(self, strategy: Any) -> None:
        # The hook stays only for this pass: one left on the model would see the forward passes of
        # replay and distillation, and strategies copy the model in training.
        self._hook.attach(strategy.model)

    def after_eval_forward(self, strategy: Any) -> None:
        self._hook.detach()
        features = self._hook.take(strategy.model, len(strategy.mb_y))
        self._keep(features.detach(), strategy.mb_y.cpu())

    def after_eval(self, strategy: Any) -> list[MetricValue]:
        if not self._kept:
            return []
        features, labels = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        self.reset()
        if not features.isfinite().all():
            warnings.warn(
                f"{self._space}: NaN or infinite values after experience {self._trained.step}; "
                "geometry not measured",
                stacklevel=2,
            )
            return []
        geometry = self._geometry.setdefault(self._stream, StreamGeometry(self._epsilon)).measure(
            self._space,
            features,
            labels,
            current=self._trained.current_classes,
            num_classes=max(self._trained.classes) + 1,
        )
        return self._emit(
            {
                f"{space}/{name}": value
                for space, found in geometry.items()
                for name, value in self._with_figures(found, labels).items()
            }
        )

    def _keep(self, features: Tensor, labels: Tensor) -> None:
        """Keeps samples of the classes trained on, until there are enough of each."""
        seen = self._trained.classes
        enough = min(self._samples_per_class, max(2, _MOST_SAMPLES // max(1, len(seen))))
        chosen = []
        for c in labels.unique().tolist():
            room = enough - self._num_kept[c]
            if c in seen and room > 0:
                indices = (labels == c).nonzero().flatten()[:room]
                self._num_kept[c] += len(indices)
                chosen.append(indices)
        if chosen:
            indices = torch.cat(chosen)
            self._kept.append(
                (features[indices.to(features.device)].float().cpu(), labels[indices])
            )

    def _with_figures(self, geometry: Geometry, labels: Tensor) -> Metrics:
        classes = self._trained.classes
        title = "SimO similarity of class means"
        return {
            **geometry.metrics,
            "simo_similarity": _matrix_by_class(geometry.simo_similarity, classes, title),
            "class_mean_cos": _matrix_by_class(
                geometry.class_mean_cos, classes, "cosine of class means", -1
            ),
            "simo_similarity_samples": self._samples_matrix(geometry.points, labels),
        }

    def _samples_matrix(self, features: Tensor, labels: Tensor) -> MatrixValue:
        """SimO similarity of a few samples of each class, in the order the classes were learnt."""
        present = set(labels.tolist())
        classes = [c for c in self._trained.classes if c in present]
        per_class = max(1, min(10, _MOST_SAMPLES_SHOWN // len(classes)))
        groups = [(labels == c).nonzero().flatten()[:per_class] for c in classes]
        similarity = simo_similarity(features[torch.cat(groups)], self._epsilon)
        ends = np.cumsum([len(group) for group in groups])
        middles = [end - (len(group) + 1) / 2 for end, group in zip(ends, groups, strict=True)]
        ticks = Ticks("samples of class", classes, middles)
        figure = heat_map(similarity, "SimO similarity of samples", ticks, ticks)
        return MatrixValue(figure, similarity)


class ContinualMetric(_OncePerEvaluation):
    """See ``continual_learning_metrics``."""

    def __init__(self) -> None:
        super().__init__()
        # Of each stream, by the row (experiences trained), then by the experience evaluated.
        self._rows: dict[str, dict[int, dict[int, NDArray[np.int64]]]] = {}

    def reset(self) -> None:
        """Forgets the predictions of the current evaluation."""
        self._labels: dict[int, list[Tensor]] = defaultdict(list)
        self._predictions: dict[int, list[Tensor]] = defaultdict(list)

    def after_eval_iteration(self, strategy: Any) -> None:
        super().after_eval_iteration(strategy)
        scores, labels = strategy.mb_output, strategy.mb_y.cpu()
        if not isinstance(scores, Tensor) or scores.dim() != 2:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"continual_learning_metrics needs class scores (N, classes) in evaluation, the "
                f"model gave {shape}"
            )
        experience = strategy.experience.current_experience
        self._labels[experience].append(labels)
        self._predictions[experience].append(scores.argmax(dim=1).cpu())

    def after_eval(self, strategy: Any) -> list[MetricValue]:
        if not self._labels or self._trained.step < 0:
            return []
        row = self._rows.setdefault(self._stream, {}).setdefault(self._trained.step, {})
        labels = {e: torch.cat(parts) for e, parts in self._labels.items()}
        predictions = {e: torch.cat(parts) for e, parts in self._predictions.items()}
        self.reset()
        for experience in labels:
            row[experience] = _counts(labels[experience], predictions[experience])
        emitted = self._from_accuracies()
        if self._in_several_tasks is None:
            emitted |= self._from_confusion(
                torch.cat(list(labels.values())), torch.cat(list(predictions.values()))
            )
        return self._emit(emitted)

    @property
    def _columns_are(self) -> Literal["experiences", "classes of experiences", "test sets"]:
        """What there is an accuracy of, after each training.

        Of each experience trained, by the experience evaluated that has its number and none but
        its classes; or else by its classes, wherever they are evaluated, if no other has them; or
        else of each experience evaluated alone, whatever was trained.
        """
        trained, evaluated = self._trained.stream, self._classes_of[self._stream]
        joint = len(trained) == 1 < len(evaluated)
        if joint or all(evaluated.get(i, _NOT_THERE) <= trained[i] for i in trained):
            return "experiences"
        by_class = apart(trained.values()) and self._in_several_tasks is None
        return "classes of experiences" if by_class else "test sets"

    def _meet_stream(self) -> None:
        """Says what is not defined for it."""
        stream, several = f"the {self._stream} stream", self._in_several_tasks
        if self._columns_are == "test sets":
            warnings.warn(
                f"{stream} has no experience of its own for each of the training stream, whose "
                "classes come back: average_accuracy and average_anytime_accuracy are over all of "
                "it, whatever was trained, and what compares experiences (forgetting, "
                "backward_transfer, learning_accuracy, min_accuracy, worst_case_accuracy) is not "
                "defined and left out",
                stacklevel=2,
            )
        if several is not None:
            warnings.warn(
                f"{_in_tasks(*several)} of {stream} and the training stream: accuracies are by "
                "experience; those of classes, of new and of old ones, and the confusion matrix "
                "are not defined and left out",
                stacklevel=2,
            )

    def _from_accuracies(self) -> Metrics:
        matrix, columns = self._accuracy_matrix()
        if self._columns_are == "test sets":
            averages = matrix.mean(axis=1)
            values = {
                "average_accuracy": float(averages[-1]),
                "average_anytime_accuracy": float(averages.mean()),
            }
            metrics: Metrics = {n: value for n, value in values.items() if math.isfinite(value)}
        else:
            metrics = dict(continual_metrics(matrix, joint=self._is_joint))
        tensor = torch.from_numpy(matrix)
        rows = Ticks("experience trained last", self._trained.order)
        figure = heat_map(tensor, "accuracy", rows, Ticks("experience evaluated", columns))
        metrics["accuracy_matrix"] = MatrixValue(figure, tensor)
        return metrics

    def _accuracy_matrix(self) -> tuple[NDArray[np.float64], list[int]]:
        """A of this stream and its columns: experiences in the order trained, then the others."""
        rows, order = self._rows[self._stream], self._trained.order
        evaluated = {experience for row in rows.values() for experience in row}
        kind = self._columns_are
        if kind == "classes of experiences":
            evaluated = set(self._trained.stream)
        known = [] if kind == "test sets" else order
        columns = [*known, *sorted(evaluated.difference(known))]
        matrix = np.full((len(order), len(columns)), math.nan)
        for t, row in rows.items():
            if kind == "classes of experiences":
                every = _counts_of_all(row.values())
                classes = [[c for _, c in sorted(self._trained.stream[i])] for i in columns]
                matrix[t] = [_accuracy(every, of_one) for of_one in classes]
            else:
                matrix[t] = [_accuracy(row[i]) if i in row else math.nan for i in columns]
        return matrix, columns

    @property
    def _is_joint(self) -> bool:
        """Whether the only training so far was on several experiences at once."""
        by_class = self._columns_are == "classes of experiences"
        parts = self._trained.stream if by_class else self._classes_of[self._stream]
        covered = [classes for classes in parts.values() if classes <= self._trained.covered]
        # In a stream whose experiences share their classes, the first one covers others.
        several = len(covered) > 1 and apart(covered)
        return self._trained.step == 0 and (self._trained.at_once or several)

    def _from_confusion(self, labels: Tensor, predictions: Tensor) -> Metrics:
        seen, new = self._trained.classes, self._trained.current_classes
        num_classes = max(int(labels.max()), int(predictions.max()), *seen) + 1
        confusion = confusion_matrix(labels, predictions, num_classes)
        accuracies = {f"class_accuracy/{c}": class_accuracy(confusion, [c]) for c in seen}
        if not self._is_joint:
            old = [c for c in seen if c not in new]
            accuracies["new_class_accuracy"] = class_accuracy(confusion, new)
            accuracies["old_class_accuracy"] = class_accuracy(confusion, old)
        counts = torch.from_numpy(confusion)
        shares = (counts / counts.sum(dim=1, keepdim=True))[seen][:, seen]
        rows, columns = Ticks("class", seen), Ticks("predicted class", seen)
        figure = heat_map(shares, "share of the class", rows, columns)
        defined = {name: value for name, value in accuracies.items() if math.isfinite(value)}
        return {**defined, "confusion_matrix": MatrixValue(figure, counts)}


def _counts(labels: Tensor, predictions: Tensor) -> NDArray[np.int64]:
    """Samples by their class, (2, classes): all, and those that were recognised."""
    size = int(labels.max()) + 1
    both = labels, labels[labels == predictions]
    return torch.stack([of_both.bincount(minlength=size) for of_both in both]).numpy()


def _counts_of_all(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    parts = list(parts)
    size = max(part.shape[1] for part in parts)
    return np.sum([np.pad(part, ((0, 0), (0, size - part.shape[1]))) for part in parts], axis=0)


def _accuracy(counts: NDArray[np.int64], classes: Sequence[int] | None = None) -> float:
    """NaN without samples."""
    if classes is not None:
        counts = counts[:, [c for c in classes if c < counts.shape[1]]]
    samples, right = counts.sum(axis=1)
    return float(right / samples) if samples else math.nan


def _in_tasks(c: int, tasks: Sequence[int]) -> str:
    return f"class {c} stands in tasks {', '.join(map(str, tasks))}"


def _matrix_by_class(
    matrix: Tensor, classes: list[int], title: str, lowest: float = 0.0
) -> MatrixValue:
    """A matrix indexed by class, shown for the given classes in that order."""
    ticks = Ticks("class", classes)
    shown = matrix[classes][:, classes]
    return MatrixValue(heat_map(shown, title, ticks, ticks, lowest), matrix)
