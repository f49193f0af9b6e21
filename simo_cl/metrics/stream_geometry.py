"""The geometry of a model's representations, measured again and again along a stream."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from simo_cl.metrics.described import own_metrics
from simo_cl.metrics.geometry import (
    centred,
    class_mean_cosines,
    class_mean_directions,
    drift,
    geometry_metrics,
    simo_similarity,
)


@dataclass(frozen=True)
class Geometry:
    """What is measured of one space; matrices are (num_classes, num_classes), NaN without a mean.

    Attributes:
        points: (N, d), that it is of.
        metrics: by name, those that are defined, with the user's own and the drift.
        class_mean_cos: cosines of class means.
        simo_similarity: of class means.
    """

    points: Tensor
    metrics: dict[str, float]
    class_mean_cos: Tensor
    simo_similarity: Tensor


class StreamGeometry:
    """Measures a space as it is, and around its global mean, after each experience.

    A class drifts from where it lay when it was last evaluated right after it had been trained.

    Args:
        epsilon: of the SimO loss, for the SimO similarities.

    Attributes:
        when_learnt: class-mean directions (C, d) right after each class was last trained, by space;
            NaN rows for those that were not, or had none. All there is to save.
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        self.epsilon = epsilon
        self.when_learnt: dict[str, Tensor] = {}

    def measure(
        self,
        space: str,
        points: Tensor,
        labels: Tensor,
        *,
        current: Collection[int],
        num_classes: int,
    ) -> dict[str, Geometry]:
        """The geometry of ``space`` and of ``<space>_centred``, by these names.

        Args:
            points: (N, d).
            labels: (N,), in [0, num_classes).
            current: the classes that were trained last.
            num_classes: as many as before, or more.

        Raises:
            ValueError: as :func:`simo_cl.metrics.geometry.geometry_metrics`.
        """
        return {
            name: self._of(name, here, labels, sorted(current), num_classes)
            for name, here in ((space, points), (f"{space}_centred", centred(points)))
        }

    def _of(
        self, space: str, points: Tensor, labels: Tensor, current: list[int], num_classes: int
    ) -> Geometry:
        metrics = geometry_metrics(points, labels, epsilon=self.epsilon)
        metrics |= own_metrics("geometry", points, labels)
        means = class_mean_directions(points, labels, num_classes)
        metrics["drift/class_mean"] = self._drift(space, means, current)
        return Geometry(
            points,
            {name: value for name, value in metrics.items() if math.isfinite(value)},
            class_mean_cosines(points, labels, num_classes),
            simo_similarity(means, self.epsilon),
        )

    def _drift(self, space: str, means: Tensor, current: list[int]) -> float:
        """How far old classes are from where they were; current ones are from now on here."""
        learnt = torch.full_like(means, math.nan)
        before = self.when_learnt.get(space, learnt[:0])
        learnt[: len(before)] = before
        self.when_learnt[space] = learnt
        old = learnt.clone()
        old[current] = math.nan
        # A class without a direction now, as one that is evaluated in another call, keeps its own.
        learnt[current] = torch.where(means[current].isnan(), learnt[current], means[current])
        return drift(means, old)
