"""What is measured after each experience, the same for every strategy."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simo_cl.harness.anytime import AnytimeAccuracy
from simo_cl.harness.embed import Embedded, EvaluationRecorder, embed
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.snapshots import Snapshots
from simo_cl.metrics.continual import (
    class_accuracy,
    confusion_matrix,
    continual_metrics,
    forward_transfer,
)
from simo_cl.metrics.described import READ_OUTS, own_metrics
from simo_cl.metrics.readouts import knn
from simo_cl.metrics.stream_geometry import StreamGeometry
from simo_cl.models import EmbeddingModel
from simo_cl.streams.resident import ResidentDataset
from simo_cl.training.step_budget import StepBudget

Metrics = dict[str, float]

_REMEMBERED = (
    "_accuracies",
    "_confusions",
    "_matrices",
    "_knn_initial",
    "_knn_of_all",
    "seconds",
)


_WRONG_LAYER = {
    "features": ("FEATURE_LAYER", "images into features"),
    "embedding": ("EMBEDDING_LAYER", "features into the space of the loss"),
}


class Evaluation:
    """Evaluates a strategy after each experience.

    Every read-out classifies the whole evaluation stream from one pass over it:

    - ``own``: the strategy's own classifier, and what is reported;
    - those of :data:`READ_OUTS` that are fitted on the strategy's memory (fine-tuning: on the
      current experience; joint training: on a class-balanced sample as large as the memory);
    - those that are fitted on the same bounded sample of training images of all seen classes for
      all strategies. Diagnostics: no strategy may keep it.

    Args:
        run: that is evaluated.
        benchmark: from :func:`simo_cl.class_incremental`.
        strategy: an Avalanche strategy, built by the run's file.
        budget: the strategy's.

    Attributes:
        layers: name of a space to the name of the submodule that gives it, in the order of
            application.
        sample: of test and training images, as last evaluated.
        seconds: that all evaluations took.

    Raises:
        ValueError: the model has no submodule of the name that the strategy's file gives.
    """

    def __init__(self, run: PlannedRun, benchmark: Any, strategy: Any, budget: StepBudget) -> None:
        settings, file = run.settings, run.strategy_file
        self._strategy = strategy
        self._file = file
        self._joint = run.joint
        self._settings = settings.evaluation
        self._memory_size = settings.memory.size
        self._train_stream = benchmark.train_stream
        on_test = settings.stream.evaluate_on == "test"
        self._stream = benchmark.test_stream if on_test else benchmark.valid_stream
        self._num_classes = benchmark.n_classes
        modules = [name for name, _ in strategy.model.named_modules() if name]
        self.layers = {"features": file.feature_layer}
        if file.embedding_layer is not None:
            self.layers["embedding"] = file.embedding_layer
        elif isinstance(strategy.model, EmbeddingModel):
            self.layers["embedding"] = "head"
        for space, layer in self.layers.items():
            if layer not in modules:
                setting, given = _WRONG_LAYER[space]
                raise ValueError(
                    f"{setting} is {layer!r}, which the model has not; its submodules are "
                    f"{', '.join(modules)}. Set it in {file.path} to the one that turns {given}"
                )
        self._recorder = EvaluationRecorder(self.layers)
        strategy.plugins.append(self._recorder)
        self._anytime: AnytimeAccuracy | None = None
        if self._settings.every is not None:
            self._anytime = AnytimeAccuracy(
                self._stream,
                every=self._settings.every,
                images=self._settings.every_images,
                seed=settings.seed,
                updates=settings.stream.updates_per_batch,
                budget=budget,
                joint=run.joint,
            )
            strategy.plugins.append(self._anytime)
        self._classes = [
            sorted({int(y) for y in experience.dataset.targets}) for experience in self._stream
        ]
        self.seconds = 0.0
        self._accuracies: dict[str, list[list[float]]] = defaultdict(list)
        self._confusions: list[NDArray[np.int64]] = []
        self._matrices: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
        self._geometry = StreamGeometry()
        self._knn_initial: list[float] = []
        self._knn_of_all: list[list[float]] = []
        self.sample: dict[str, Embedded] = {}
        self.snapshots = Snapshots(self._num_classes, self._settings.samples_per_class)

    def before_training(self) -> None:
        """Measures the untrained encoder's k-NN, to which forward transfer is relative."""
        started = time.perf_counter()
        reference = self._oracle_sample()
        for experience in self._stream:
            recorded = self._embed([experience.dataset])
            predictions = knn(*_points(reference), recorded.spaces["features"])
            self._knn_initial.append(_accuracy(predictions, recorded.labels))
        self.seconds += time.perf_counter() - started

    def after_experience(self, experience: Any) -> Metrics:
        """Evaluates, after training on ``experience``; metrics as docs/metrics.md names them, those
        that are defined."""
        started = time.perf_counter()
        self._strategy.eval(self._stream)
        recorded, predictions = self._recorder.take()
        seen = sorted(experience.classes_seen_so_far)
        sample_of_all = self._oracle_sample()
        count = self._settings.samples_per_class
        oracle = sample_of_all.first_per_class(seen, count)
        memory = self._memory_sample(experience)
        metrics = self._accuracy_metrics(recorded, predictions, oracle, memory)
        metrics |= self._forward_transfer(recorded, sample_of_all)
        confusion = confusion_matrix(recorded.labels, predictions, self._num_classes)
        self._confusions.append(confusion)
        new = sorted(experience.classes_in_this_experience)
        old = [c for c in seen if c not in new]
        if not self._joint:
            metrics["new_class_accuracy"] = class_accuracy(confusion, new)
            metrics["old_class_accuracy"] = class_accuracy(confusion, old)
        sample = recorded.first_per_class(seen, count)
        self.sample = {"test": sample, "train": oracle}
        self.snapshots.add(recorded)
        for space, points in sample.spaces.items():
            metrics |= self._geometry_metrics(space, points, sample.labels, new)
        if self._anytime is not None:
            self.seconds += self._anytime.after_experience(self._strategy, experience)
            metrics |= self._anytime.metrics()
        self.seconds += time.perf_counter() - started
        # What is not defined, as the drift of classes whose features are all zero.
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """What later evaluations and the run's arrays need of the ones before."""
        return {
            **{name: getattr(self, name) for name in _REMEMBERED},
            "_directions_when_learnt": self._geometry.when_learnt,
            "sample": {part: vars(embedded) for part, embedded in self.sample.items()},
            "snapshots": self.snapshots.arrays(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state, whose arrays may be tensors."""
        self._accuracies.update(state["_accuracies"])
        self._confusions = [np.asarray(matrix) for matrix in state["_confusions"]]
        for name, matrices in state["_matrices"].items():
            self._matrices[name] = [np.asarray(matrix) for matrix in matrices]
        self._geometry.when_learnt = state["_directions_when_learnt"]
        self._knn_initial, self._knn_of_all = state["_knn_initial"], state["_knn_of_all"]
        self.seconds = state["seconds"]
        self.sample = {part: Embedded(**embedded) for part, embedded in state["sample"].items()}
        self.snapshots.load_arrays(state["snapshots"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The matrices so far, by their names in ``arrays.npz``."""
        experience_of_class = np.full(self._num_classes, -1)
        for index, classes in enumerate(self._classes):
            experience_of_class[classes] = index
        return {
            **({} if self._anytime is None else self._anytime.arrays()),
            **{f"accuracy/{name}": np.array(rows) for name, rows in self._accuracies.items()},
            **{name: np.stack(matrices) for name, matrices in self._matrices.items()},
            "confusion": np.stack(self._confusions),
            "knn_initial": np.array(self._knn_initial),
            "experience_of_class": experience_of_class,
        }

    def _accuracy_metrics(
        self, recorded: Embedded, own: Tensor, oracle: Embedded, memory: Embedded
    ) -> Metrics:
        fitted_on = {"memory": _points(memory), "oracle": _points(oracle)}
        features = recorded.spaces["features"]
        predictions = {"own": own.numpy()} | {
            name: read_out.classify(*fitted_on[read_out.fitted_on], features)
            for name, read_out in READ_OUTS.items()
        }
        metrics: Metrics = {}
        for name, predicted in predictions.items():
            rows = self._accuracies[name]
            rows.append(self._by_experience(predicted, recorded.labels))
            prefix = "" if name == "own" else f"{name}/"
            values = continual_metrics(rows, joint=self._joint)
            if not self._joint:
                values |= own_metrics("continual", np.array(rows))
            metrics |= {prefix + key: value for key, value in values.items()}
        return metrics

    def _by_experience(self, predictions: NDArray[Any], labels: Tensor) -> list[float]:
        parts = [np.isin(labels.numpy(), classes) for classes in self._classes]
        return [_accuracy(predictions[part], labels[part]) for part in parts]

    def _forward_transfer(self, recorded: Embedded, sample_of_all: Embedded) -> Metrics:
        """Here alone the k-NN knows the classes to come; the read-out ``knn`` does not."""
        if self._joint:
            return {}
        predictions = knn(*_points(sample_of_all), recorded.spaces["features"])
        self._knn_of_all.append(self._by_experience(predictions, recorded.labels))
        if len(self._knn_of_all) < 2:
            return {}
        return {"forward_transfer": forward_transfer(self._knn_of_all, self._knn_initial)}

    def _geometry_metrics(
        self, space: str, points: Tensor, labels: Tensor, new: list[int]
    ) -> Metrics:
        metrics: Metrics = {}
        found = self._geometry.measure(
            space, points, labels, current=new, num_classes=self._num_classes
        )
        for name, geometry in found.items():
            metrics |= {f"{name}/{metric}": value for metric, value in geometry.metrics.items()}
            self._matrices[f"class_mean_cos/{name}"].append(geometry.class_mean_cos.numpy())
            self._matrices[f"simo_similarity/{name}"].append(geometry.simo_similarity.numpy())
        return metrics

    def _oracle_sample(self) -> Embedded:
        """Training images of all classes, those to come included."""
        count = self._settings.samples_per_class
        return self._embed([_first_per_class(e.dataset, count).eval() for e in self._train_stream])

    def _memory_sample(self, experience: Any) -> Embedded:
        if hasattr(self._file.module, "memory"):
            return self._embed([self._file.module.memory(self._strategy)])
        buffer = _buffer(self._strategy)
        if buffer is not None and len(buffer):
            return self._embed([buffer.eval()])
        dataset = experience.dataset
        if self._joint:
            per_class = self._memory_size // len(experience.classes_in_this_experience)
            dataset = _first_per_class(dataset, max(1, per_class))
        return self._embed([dataset.eval()])

    def _embed(self, datasets: list[Any]) -> Embedded:
        parts = [
            embed(
                self._strategy.model,
                dataset,
                self.layers,
                self._settings.batch_size,
                self._strategy.device,
            )
            for dataset in datasets
        ]
        return Embedded(
            {space: torch.cat([part.spaces[space] for part in parts]) for space in self.layers},
            torch.cat([part.labels for part in parts]),
        )


def _points(embedded: Embedded) -> tuple[Tensor, Tensor]:
    return embedded.spaces["features"], embedded.labels


def _accuracy(predictions: NDArray[Any], labels: Tensor) -> float:
    return float(np.mean(np.asarray(predictions) == labels.numpy()))


def _buffer(strategy: Any) -> Any | None:
    """The replay memory of strategies and plugins, ours and Avalanche's, wherever it is kept."""
    for owner in (strategy, *strategy.plugins):
        if hasattr(owner, "memory_dataset"):
            return owner.memory_dataset
        policy = getattr(owner, "storage_policy", None)
        if policy is not None:
            return policy.buffer
    return None


def _first_per_class(dataset: ResidentDataset, samples_per_class: int) -> ResidentDataset:
    """The first samples of each class, as a data set. Which come first was drawn with the data
    set's split, not by the strategy."""
    places = [np.flatnonzero(dataset.labels == c) for c in np.unique(dataset.labels)]
    return dataset.subset(np.concatenate([of_class[:samples_per_class] for of_class in places]))
