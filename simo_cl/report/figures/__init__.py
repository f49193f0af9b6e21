"""The figures of a suite: files for a paper, and panels for the page."""

from __future__ import annotations

from collections.abc import Sequence

from simo_cl.report.figures.class_pairs import (
    class_means,
    class_means_by_experience,
    similarity_of_means,
    similarity_of_samples,
)
from simo_cl.report.figures.comparison import strategies_compared
from simo_cl.report.figures.cost import accuracy_against_time, plasticity
from simo_cl.report.figures.curves import accuracy, forgetting
from simo_cl.report.figures.differences import paired_differences
from simo_cl.report.figures.drawn_before import Written
from simo_cl.report.figures.figure import SPACES, Figure, Panel, write_figures
from simo_cl.report.figures.forces import forces
from simo_cl.report.figures.geometry import geometry_curves
from simo_cl.report.figures.matrices import accuracy_matrices, confusion
from simo_cl.report.figures.movement import movement
from simo_cl.report.figures.pairs import distance_and_orthogonality
from simo_cl.report.figures.sweeps import sweeps
from simo_cl.report.figures.tsne import pairs_of_classes, train_and_test
from simo_cl.report.palette import looks
from simo_cl.report.statistics import Comparison
from simo_cl.results import Suite

__all__ = [
    "SPACES",
    "Figure",
    "Panel",
    "Written",
    "chosen_figures",
    "suite_figures",
    "write_figures",
]


def suite_figures(suite: Suite, comparisons: Sequence[Comparison]) -> list[Figure]:
    """Every figure that the finished runs have the numbers for."""
    drawn_as = looks(suite)
    makers = (
        strategies_compared(suite, comparisons, drawn_as),
        paired_differences(suite),
        accuracy(suite, drawn_as),
        forgetting(suite, drawn_as),
        accuracy_matrices(suite),
        confusion(suite),
        *(geometry_curves(suite, drawn_as, space) for space in SPACES),
        *(class_means(suite, space) for space in SPACES),
        *(class_means_by_experience(suite, space) for space in SPACES),
        *(similarity_of_means(suite, space) for space in ("features", "embedding")),
        *(similarity_of_samples(suite, space) for space in ("features", "embedding")),
        distance_and_orthogonality(suite),
        *sweeps(suite, drawn_as),
        accuracy_against_time(suite, drawn_as),
        plasticity(suite, drawn_as),
        forces(suite),
        train_and_test(suite),
        pairs_of_classes(suite),
        movement(suite),
    )
    return [figure for figure in makers if figure is not None and figure.panels]


def chosen_figures(suite: Suite, labels: Sequence[str]) -> list[Figure]:
    """The figures that have room for a few rows, with these ones."""
    figures = (
        train_and_test(suite, labels),
        pairs_of_classes(suite, labels),
        movement(suite, labels),
        *(class_means_by_experience(suite, space, labels) for space in SPACES),
    )
    return [figure for figure in figures if figure.panels]
