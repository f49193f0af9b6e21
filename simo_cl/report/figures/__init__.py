"""The figures of a suite: files for a paper, and panels for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

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
from simo_cl.report.figures.drawn_before import Written
from simo_cl.report.figures.figure import SPACES, Figure, Panel, draw_figure, write_figures
from simo_cl.report.figures.forces import forces
from simo_cl.report.figures.geometry import geometry_curves
from simo_cl.report.figures.matrices import accuracy_matrices, confusion
from simo_cl.report.figures.movement import movement
from simo_cl.report.figures.own import FIGURES
from simo_cl.report.figures.pairs import distance_and_orthogonality
from simo_cl.report.figures.sweeps import sweeps
from simo_cl.report.figures.tsne import pairs_of_classes, train_and_test
from simo_cl.report.statistics import Comparison, compare_with_control
from simo_cl.results import Suite
from simo_cl.results.styles import styles

__all__ = [
    "SPACES",
    "Figure",
    "FigureName",
    "Panel",
    "Written",
    "chosen_figures",
    "draw_figure",
    "figure_makers",
    "suite_figures",
    "write_figures",
]


FigureName = Literal[
    "comparison",
    "paired_differences",
    "critical_difference",
    "accuracy",
    "anytime",
    "forgetting",
    "accuracy_matrices",
    "confusion",
    "geometry_features",
    "geometry_features_centred",
    "geometry_embedding",
    "geometry_embedding_centred",
    "class_mean_cosines_features",
    "class_mean_cosines_features_centred",
    "class_mean_cosines_embedding",
    "class_mean_cosines_embedding_centred",
    "class_mean_cosines_steps_features",
    "class_mean_cosines_steps_features_centred",
    "class_mean_cosines_steps_embedding",
    "class_mean_cosines_steps_embedding_centred",
    "simo_similarity_features",
    "simo_similarity_embedding",
    "simo_similarity_samples_features",
    "simo_similarity_samples_embedding",
    "distance_and_orthogonality",
    "accuracy_against_time",
    "plasticity",
    "forces",
    "tsne",
    "tsne_pairs",
    "movement",
]
"""What every suite may have; with a grid come ``sweep_<setting>``, with a
file of the user's own the figures that it registers."""


def figure_makers(
    suite: Suite, comparisons: Sequence[Comparison] | None = None
) -> dict[str, Callable[[], Figure | None]]:
    """What makes each figure, by its name and in the page's order; None where the finished runs
    have not the numbers for it.

    Args:
        comparisons: with the suite's control; made anew if they are not given.
    """
    drawn_as = styles(suite)
    against = compare_with_control(suite) if comparisons is None else comparisons
    both = ("features", "embedding")
    return {
        "comparison": partial(strategies_compared, suite, against, drawn_as),
        "paired_differences": partial(paired_differences, suite),
        "critical_difference": partial(critical_difference_diagram, suite, drawn_as),
        "accuracy": partial(accuracy, suite, drawn_as),
        "anytime": partial(anytime, suite, drawn_as),
        "forgetting": partial(forgetting, suite, drawn_as),
        "accuracy_matrices": partial(accuracy_matrices, suite),
        "confusion": partial(confusion, suite),
        **{f"geometry_{s}": partial(geometry_curves, suite, drawn_as, s) for s in SPACES},
        **{f"class_mean_cosines_{s}": partial(class_means, suite, s) for s in SPACES},
        **{
            f"class_mean_cosines_steps_{s}": partial(class_means_by_experience, suite, s)
            for s in SPACES
        },
        **{f"simo_similarity_{s}": partial(similarity_of_means, suite, s) for s in both},
        **{f"simo_similarity_samples_{s}": partial(similarity_of_samples, suite, s) for s in both},
        "distance_and_orthogonality": partial(distance_and_orthogonality, suite),
        **{figure.name: partial(_itself, figure) for figure in sweeps(suite, drawn_as)},
        "accuracy_against_time": partial(accuracy_against_time, suite, drawn_as),
        "plasticity": partial(plasticity, suite, drawn_as),
        "forces": partial(forces, suite),
        "tsne": partial(train_and_test, suite),
        "tsne_pairs": partial(pairs_of_classes, suite),
        "movement": partial(movement, suite),
        **{name: partial(own.of, suite) for name, own in FIGURES.items() if suite.finished_labels},
    }


def suite_figures(suite: Suite, comparisons: Sequence[Comparison]) -> list[Figure]:
    """Every figure that the finished runs have the numbers for."""
    made = (make() for make in figure_makers(suite, comparisons).values())
    return [figure for figure in made if figure is not None and figure.panels]


def _itself(figure: Figure) -> Figure:
    return figure


def chosen_figures(suite: Suite, labels: Sequence[str]) -> list[Figure]:
    """The figures that have room for a few rows, with these ones."""
    figures = (
        train_and_test(suite, labels),
        pairs_of_classes(suite, labels),
        movement(suite, labels),
        *(class_means_by_experience(suite, space, labels) for space in SPACES),
    )
    return [figure for figure in figures if figure.panels]
