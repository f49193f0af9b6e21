"""Matrices as heat maps, for Avalanche's loggers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from avalanche.evaluation.metric_results import AlternativeValues
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from torch import Tensor

_MOST_TICKS = 12


@dataclass(frozen=True)
class Ticks:
    """The names at one side of a heat map: what they are of, and where each stands."""

    label: str
    names: Sequence[int]
    positions: Sequence[float] | None = None


class MatrixValue(AlternativeValues):
    """A matrix as a figure and as a tensor: each logger takes what it can show."""

    def __init__(self, figure: Figure, matrix: Tensor) -> None:
        super().__init__(figure, matrix)
        self.figure = figure
        self.matrix = matrix

    def __str__(self) -> str:
        return "{} x {} matrix".format(*self.matrix.shape)


def heat_map(
    matrix: Tensor, title: str, rows: Ticks, columns: Ticks, lowest: float = 0.0
) -> Figure:
    """A matrix with values from ``lowest`` (0 or negative) to 1 in colours; NaN is left blank."""
    # A Figure of its own: pyplot would keep every one alive.
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.add_subplot()
    colours = "RdBu_r" if lowest < 0 else "cividis"
    image = axes.imshow(matrix.numpy(), vmin=lowest, vmax=1, cmap=colours, interpolation="nearest")
    figure.colorbar(image, label=title)
    _name(axes.yaxis, rows)
    _name(axes.xaxis, columns)
    return figure


def _name(axis: Axis, ticks: Ticks) -> None:
    positions = range(len(ticks.names)) if ticks.positions is None else ticks.positions
    step = math.ceil(len(ticks.names) / _MOST_TICKS)
    axis.set_ticks(positions[::step], labels=[str(name) for name in ticks.names[::step]])
    axis.set_label_text(ticks.label)
