"""Figures of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle
from matplotlib.axes import Axes

from simo_cl.registry import Registry
from simo_cl.report.figures.curves import WIDE, room_for_names
from simo_cl.report.figures.figure import Figure, Panel, Section
from simo_cl.results import Suite


@dataclass(frozen=True)
class OwnFigure:
    """What a user's file says of a figure.

    Attributes:
        draw: fills the axes with what a suite has.
    """

    name: str
    title: str
    caption: str
    section: Section
    draw: Callable[[Suite, Axes], None]

    def of(self, suite: Suite) -> Figure:
        """The figure of a suite."""
        panel = Panel("0", "", f"{self.title}. {self.caption}", partial(_Sent(self.draw), suite))
        return Figure(
            name=self.name,
            section=self.section,
            title=self.title,
            caption=self.caption,
            panels=(panel,),
            size=WIDE,
            margins=room_for_names(suite.finished_labels),
        )


class _Sent:
    """A function of the user's file, whose name means nothing to the processes that draw."""

    def __init__(self, function: Callable[[Suite, Axes], None]) -> None:
        self._function = function

    def __call__(self, suite: Suite, axes: Axes) -> None:
        self._function(suite, axes)

    def __reduce__(self) -> tuple[Any, ...]:
        package = sys.modules[self._function.__module__.partition(".")[0]]
        cloudpickle.register_pickle_by_value(package)
        return cloudpickle.loads, (cloudpickle.dumps(self._function),)


FIGURES: Registry[OwnFigure] = Registry("a figure")
