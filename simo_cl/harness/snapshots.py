"""Where the same few images lie after each experience."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simo_cl.harness.embed import Embedded, in_half_precision

MOST_SNAPSHOTS = 200  # images


class Snapshots:
    """Keeps the first images of every class, those to come included.

    About ``MOST_SNAPSHOTS`` in all, and in half precision where it holds the values, so that
    pictures over the experiences cost little disk; at least one of each class, however many there
    are.

    Args:
        num_classes: of the data set.
        samples_per_class: the most of one class.
    """

    def __init__(self, num_classes: int, samples_per_class: int) -> None:
        self._classes = range(num_classes)
        self.per_class = max(1, min(samples_per_class, MOST_SNAPSHOTS // num_classes))
        self._spaces: dict[str, list[NDArray[np.floating]]] = defaultdict(list)
        self._labels = np.zeros(0, dtype=np.int64)

    def add(self, recorded: Embedded) -> None:
        """Takes the images from what the evaluation after an experience gave."""
        sample = recorded.first_per_class(self._classes, self.per_class)
        self._labels = sample.labels.numpy()
        for space, points in sample.spaces.items():
            self._spaces[space].append(in_half_precision(points))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``labels`` (N,) and, by space, (experiences trained, N, d)."""
        spaces = {space: np.stack(points) for space, points in self._spaces.items()}
        return {"labels": self._labels, **spaces}

    def load_arrays(self, arrays: dict[str, Any]) -> None:
        """Takes over what :meth:`arrays` gave."""
        spaces = {name: np.asarray(array) for name, array in arrays.items()}
        self._labels = spaces.pop("labels")
        for space, points in spaces.items():
            self._spaces[space] = list(points)
