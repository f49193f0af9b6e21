"""Means over seeds, as the report and MLflow show them.

A mean over some of the seeds would stand beside the number of all and be read as theirs. So there
is none unless every seed has the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1) over seeds; `std` is None with one seed."""

    mean: float
    std: float | None
    count: int


def spread(values: Sequence[object]) -> Spread | None:
    """Mean and standard deviation of one value a seed.

    Args:
        values: a number for each seed, or None for one that has none.

    Returns:
        None without seeds, or if one of them has no finite number.

    Example:
        >>> spread([0.5, 0.75, 1.0])
        Spread(mean=0.75, std=0.25, count=3)
        >>> spread([0.5, None]) is None
        True
    """
    numbers = [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    if not numbers or len(numbers) < len(values):
        return None
    std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return Spread(float(np.mean(numbers)), std, len(numbers))


def mean_metrics(seeds: Sequence[Mapping[str, object]]) -> dict[str, Spread]:
    """Mean and deviation of each metric that all seeds have, in the first one's order."""
    found = {name: spread([of.get(name) for of in seeds]) for name in (seeds[0] if seeds else ())}
    return {name: over_seeds for name, over_seeds in found.items() if over_seeds is not None}


def mean_array(arrays: Sequence[NDArray[Any] | None]) -> NDArray[np.float64] | None:
    """Mean of one array a seed, by element.

    Returns:
        None without seeds, or unless each has an array, all in one shape.

    Example:
        >>> mean_array([np.zeros(2), np.ones(2)])
        array([0.5, 0.5])
        >>> mean_array([np.zeros(2), None]) is None
        True
    """
    present = [array for array in arrays if array is not None]
    if not present or len(present) < len(arrays) or len({a.shape for a in present}) > 1:
        return None
    return np.mean(np.stack(present).astype(np.float64), axis=0)
