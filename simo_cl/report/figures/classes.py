"""What classes are called in figures, and the order in which they stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from simo_cl.report.figures.figure import Margins
from simo_cl.results import Suite


def learning_order(suite: Suite, label: str, classes: int) -> tuple[np.ndarray, list[int]]:
    """Class numbers as they were learnt, and where a new experience begins among them.

    The data set's order where seeds disagree.
    """
    stored = [run.array("experience_of_class") for run in suite.finished(label)]
    taught = [array for array in stored if array is not None]
    agreed = len(taught) == len(stored) and all(np.array_equal(t, taught[0]) for t in taught)
    if not agreed:
        return np.arange(classes), []
    order = np.argsort(taught[0], kind="stable")
    return order, [int(i) + 1 for i in np.flatnonzero(np.diff(taught[0][order]))]


def class_name(suite: Suite, number: int) -> str:
    """The data set's name of a class, or its number."""
    names = suite.plan.class_names
    return names[number] if number < len(names) else str(number)


def class_sizes(suite: Suite) -> dict[str, Any]:
    """Size and margins of a panel with a row and a column for every class."""
    longest = max((len(name[:10]) for name in suite.plan.class_names), default=2)
    room = 0.15 + 0.062 * longest if len(suite.plan.class_names) <= 12 else 0.12
    return {"size": (1.75, 1.75), "margins": Margins(room, 0.08, room, 0.28)}
