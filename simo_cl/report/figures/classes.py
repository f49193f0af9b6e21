"""What classes are called in figures, and the order in which they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simo_cl.metrics.over_seeds import mean_array
from simo_cl.report.figures.figure import Margins
from simo_cl.results import Run, Suite

MOST_NAMES = 12


@dataclass(frozen=True)
class ClassMatrices:
    """A row's mean over seeds of an array over pairs of classes, which stand as they were learnt.

    Where seeds have orders of their own, those in one place are averaged: what one seed learnt
    first is no other's last.

    Attributes:
        values: (..., C, C).
        names: of the classes, or their places from 1 where seeds have orders of their own.
        borders: where a new experience begins.
    """

    values: np.ndarray
    names: tuple[str, ...]
    borders: tuple[int, ...]

    @property
    def ticks(self) -> list[str]:
        """The names where there is room."""
        return [name[:10] for name in self.names] if len(self.names) <= MOST_NAMES else []


def class_matrices(suite: Suite, label: str, name: str) -> ClassMatrices | None:
    """The mean of an array (..., C, C); None unless every finished seed has it, in one shape."""
    orders, arrays = [], []
    for run in suite.finished(label):
        if (array := run.array(name)) is None:
            return None
        orders.append(learning_order(run, array.shape[-1]))
        order = orders[-1][0]
        arrays.append(array[..., order[:, None], order])
    if (mean := mean_array(arrays)) is None:
        return None
    order, borders = orders[0]
    names = [class_name(suite, number) for number in order]
    if not _is_one_order(suite, label):
        names = [str(place + 1) for place in range(len(order))]
    alike = all(other == borders for _, other in orders)
    return ClassMatrices(mean, tuple(names), tuple(borders) if alike else ())


def learning_order(run: Run, classes: int) -> tuple[np.ndarray, list[int]]:
    """Class numbers as a run learnt them, and where a new experience begins among them.

    The data set's order where the run does not say.
    """
    taught = run.array("experience_of_class")
    if taught is None:
        return np.arange(classes), []
    order = np.argsort(taught, kind="stable")
    return order, [int(i) + 1 for i in np.flatnonzero(np.diff(taught[order]))]


def order_note(suite: Suite) -> str:
    """For a caption: that classes are called by their places, if they are."""
    if all(_is_one_order(suite, label) for label in suite.finished_labels):
        return ""
    return " Seeds learn classes in orders of their own: numbers are places in them."


def _is_one_order(suite: Suite, label: str) -> bool:
    """Whether all seeds of a row learnt the classes in the same order."""
    taught = [run.array("experience_of_class") for run in suite.finished(label)]
    return len({None if array is None else array.tobytes() for array in taught}) < 2


def class_name(suite: Suite, number: int) -> str:
    """The data set's name of a class, or its number."""
    names = suite.plan.class_names
    return names[number] if number < len(names) else str(number)


def class_sizes(suite: Suite) -> dict[str, Any]:
    """Size and margins of a panel with a row and a column for every class."""
    longest = max((len(name[:10]) for name in suite.plan.class_names), default=2)
    room = 0.15 + 0.062 * longest if len(suite.plan.class_names) <= MOST_NAMES else 0.12
    return {"size": (1.75, 1.75), "margins": Margins(room, 0.08, room, 0.28)}
