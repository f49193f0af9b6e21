"""Accuracy on a small sample, every so many batches of an online stream."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.scenarios.online import OnlineCLExperience
from avalanche.training.plugins import SupervisedPlugin
from numpy.typing import NDArray
from torch import Tensor

from simo_cl.metrics.anytime import anytime_accuracy, anytime_metrics
from simo_cl.streams.resident import ResidentDataset
from simo_cl.training.generators import global_generators, set_global_generators
from simo_cl.training.step_budget import StepBudget

_REMEMBERED = ("_batches", "_experiences", "_accuracies", "_rows", "_seconds")


class AnytimeAccuracy(SupervisedPlugin):
    """Measures the accuracy of a strategy's own classifier while it trains.

    The sample has equally many test images of each class; those of the experiences begun so far are
    classified. Measuring leaves everything as it was: generators, modes, the strategy's batch and
    loss, and the seconds of training. Of the strategy's other plugins it follows all but the one
    that saves.

    Args:
        stream: that is evaluated.
        every: batches from one measurement to the next, counted over the whole stream.
        images: of all classes, at most.
        seed: of the choice of images.
        updates: steps that a batch is trained on.
        budget: the strategy's.
        joint: whether the strategy trains on all classes in one experience.
    """

    def __init__(
        self,
        stream: Sequence[Any],
        *,
        every: int,
        images: int,
        seed: int,
        updates: int,
        budget: StepBudget,
        joint: bool,
    ) -> None:
        super().__init__()
        self._every = every
        self._updates = updates
        self._budget = budget
        self._joint = joint
        num_classes = sum(len(e.classes_in_this_experience) for e in stream)
        samples = [_of_each_class(e.dataset, images // num_classes, seed) for e in stream]
        self._sizes = [len(sample) for sample in samples]
        begun = [len(stream)] if joint else range(1, len(stream) + 1)
        # One experience for several data sets, so that one loader passes over all.
        together = [reduce(ResidentDataset.concat, samples[:count]) for count in begun]
        self._samples = [
            OnlineCLExperience(dataset=dataset, origin_experience=stream[0]) for dataset in together
        ]
        self._answers: list[Tensor] | None = None
        self._seconds = 0.0
        self._batches: list[int] = []
        self._experiences: list[int] = []
        self._accuracies: list[float] = []
        self._rows: list[list[float]] = []

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if self._budget.steps_taken % (self._every * self._updates) == 0:
            started = time.perf_counter()
            self._measure(strategy, self._budget.experience)
            seconds = time.perf_counter() - started
            self._seconds += seconds
            self._budget.seconds -= seconds

    def after_experience(self, strategy: Any, experience: Any) -> float:
        """Measures after the last batch, whatever its number; gives the seconds that measuring took
        while the experience was trained."""
        if self._batches[-1:] != [self._budget.steps_taken // self._updates]:
            self._measure(strategy, experience.current_experience)
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def after_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        if self._answers is not None:
            self._answers.append(strategy.mb_output.argmax(dim=1) == strategy.mb_y)

    def metrics(self) -> dict[str, float]:
        """Of the curve so far, those that are defined."""
        if self._joint:
            return {"anytime/accuracy": anytime_accuracy(self._accuracies, self._batches)}
        return anytime_metrics(self._accuracies, self._rows, self._batches, self._experiences)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The curve so far, by the names in ``arrays.npz``."""
        return {
            "anytime/batches": np.array(self._batches),
            "anytime/experience": np.array(self._experiences),
            "anytime/accuracy": np.array(self._accuracies),
            "anytime/by_experience": np.array(self._rows),
        }

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _REMEMBERED}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _REMEMBERED:
            setattr(self, name, state[name])

    def _measure(self, strategy: Any, index: int) -> None:
        """Adds a point to the curve."""
        right = self._classify(strategy, self._samples[index])
        parts = np.split(right, np.cumsum(self._sizes[:-1]))
        self._batches.append(self._budget.steps_taken // self._updates)
        self._experiences.append(index)
        self._accuracies.append(float(right.mean()))
        # Of experiences not yet begun there is no answer.
        self._rows.append([float(part.mean()) if len(part) else math.nan for part in parts])

    def _classify(self, strategy: Any, sample: OnlineCLExperience) -> NDArray[np.bool_]:
        generators = global_generators(strategy.device)
        # Avalanche empties batch, output and loss after an evaluation, also within a step.
        kept = dict(vars(strategy))
        self._answers = []
        strategy.eval([sample])
        right = torch.cat(self._answers).cpu().numpy()
        self._answers = None
        vars(strategy).update(kept)
        set_global_generators(generators, strategy.device)
        return right


def _of_each_class(dataset: ResidentDataset, count: int, seed: int) -> ResidentDataset:
    """Images of each class, drawn anew for each by the seed and its label alone."""
    chosen = []
    for label in np.unique(dataset.labels):
        places = np.flatnonzero(dataset.labels == label)
        chosen.append(np.random.default_rng([seed, label]).permutation(places)[:count])
    return dataset.subset(np.concatenate(chosen))
