"""Figures of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import cloudpickle
from matplotlib.axes import Axes

from simo_cl.report.figures.curves import room_for_names
from simo_cl.report.figures.figure import Figure, Panel, Section
from simo_cl.results import Suite


def own_figure(
    name: str, title: str, caption: str, section: Section, draw: Callable[[Suite, Axes], None]
) -> Callable[[Suite], Figure | None]:
    """What makes a figure of one panel, which a function of the user's file fills."""

    def make(suite: Suite) -> Figure | None:
        if not suite.finished_labels:
            return None
        # A function that was executed from text may be of no module.
        package = sys.modules.get((draw.__module__ or "").partition(".")[0])
        # The name of a user's means nothing to the processes that draw.
        if package is not None and package.__name__ != "simo_cl":
            cloudpickle.register_pickle_by_value(package)
        return Figure(
            name=name,
            section=section,
            title=title,
            caption=caption,
            panels=(Panel("0", "", f"{title}. {caption}", partial(draw, suite)),),
            **room_for_names(suite.finished_labels),
            own=True,
        )

    return make
