"""The figures of a suite: files for a paper, and panels for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simo_cl.registry import Registry
from simo_cl.report.figures.class_pairs import (
    class_means,
    class_means_by_experience,
    similarity_of_means,
    similarity_of_samples,
)
from simo_cl.report.figures.comparison import strategies_compared
from simo_cl.report.figures.cost import accuracy_against_time, plasticity
from simo_cl.report.figures.critical_difference import critical_difference_diagram
from simo_cl.report.figures.curves import accuracy, anytime, forgetting
from simo_cl.report.figures.differences import paired_differences
from simo_cl.report.figures.figure import SPACES, Figure, Panel, draw_figure
from simo_cl.report.figures.forces import forces
from simo_cl.report.figures.geometry import geometry_curves
from simo_cl.report.figures.matrices import accuracy_matrices, confusion
from simo_cl.report.figures.movement import movement
from simo_cl.report.figures.pairs import distance_and_orthogonality
from simo_cl.report.figures.sweeps import sweeps
from simo_cl.report.figures.tsne import pairs_of_classes, train_and_test
from simo_cl.report.figures.write import Progress, Written, own_figures, write_figures
from simo_cl.results import Suite

__all__ = [
    "FIGURES",
    "SPACES",
    "Figure",
    "Panel",
    "Progress",
    "Written",
    "chosen_figures",
    "draw_figure",
    "figure_makers",
    "left_out_figures",
    "suite_figures",
    "write_figures",
]

Maker = Callable[[Suite], Figure | None]


def _in(spaces: Sequence[str], name: str, make: Callable[[Suite, str], Figure]) -> dict[str, Maker]:
    """A figure for each space of representations."""

    def in_space(space: str) -> Maker:
        return lambda suite: make(suite, space)

    return {f"{name}_{space}": in_space(space) for space in spaces}


_UNCENTRED = ("features", "embedding")
FIGURES: Registry[Maker] = Registry(
    "a figure",
    {
        "comparison": strategies_compared,
        "paired_differences": paired_differences,
        "critical_difference": critical_difference_diagram,
        "accuracy": accuracy,
        "anytime": anytime,
        "forgetting": forgetting,
        "accuracy_matrices": accuracy_matrices,
        "confusion": confusion,
        **_in(list(SPACES), "geometry", geometry_curves),
        **_in(list(SPACES), "class_mean_cosines", class_means),
        **_in(list(SPACES), "class_mean_cosines_steps", class_means_by_experience),
        **_in(_UNCENTRED, "simo_similarity", similarity_of_means),
        **_in(_UNCENTRED, "simo_similarity_samples", similarity_of_samples),
        "distance_and_orthogonality": distance_and_orthogonality,
        "accuracy_against_time": accuracy_against_time,
        "plasticity": plasticity,
        "forces": forces,
        "tsne": train_and_test,
        "tsne_pairs": pairs_of_classes,
        "movement": movement,
    },
)
"""What makes each figure, by its name and in the page's order; None, or a figure without panels,
where the finished runs have not the numbers for it. Those of the user are the last."""


def figure_makers(suite: Suite) -> dict[str, Maker]:
    """`FIGURES`, and one for every setting that the suite's grid sweeps: `sweep_<setting>`."""
    swept = {figure.name: _always(figure) for figure in sweeps(suite)}
    return swept | dict(FIGURES)


def _always(figure: Figure) -> Maker:
    return lambda suite: figure


def suite_figures(suite: Suite) -> list[Figure]:
    """Every figure that the finished runs have the numbers for."""
    made = (make(suite) for make in figure_makers(suite).values())
    return [figure for figure in made if figure is not None and figure.panels]


def left_out_figures(suite: Suite) -> list[str]:
    """Of the figures that an earlier report wrote: those that a file of the user's had registered
    then, and that none has registered now."""
    return sorted(own_figures(suite.folder / "figures").difference(FIGURES))


def chosen_figures(suite: Suite, labels: Sequence[str]) -> list[Figure]:
    """The figures that have room for a few rows, with these ones."""
    figures = (
        train_and_test(suite, labels),
        pairs_of_classes(suite, labels),
        movement(suite, labels),
        *(class_means_by_experience(suite, space, labels) for space in SPACES),
    )
    return [figure for figure in figures if figure.panels]
