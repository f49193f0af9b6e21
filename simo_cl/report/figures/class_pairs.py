"""Heat maps of pairs of classes: cosines between their means, and SimO similarities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.classes import (
    MOST_NAMES,
    class_matrices,
    class_name,
    class_sizes,
    learning_order,
    order_note,
)
from simo_cl.report.figures.embeddings import shown_note, shown_rows, shown_steps, spaced
from simo_cl.report.figures.figure import SPACES, Figure, Panel
from simo_cl.report.figures.matrices import class_panel, matrix_panel
from simo_cl.report.wording import fixed
from simo_cl.results import Run, Suite

MOST_ROWS = 10
SIMILARITY_SAMPLES = 150


def class_means(suite: Suite, space: str) -> Figure:
    """Cosines between class means after the last experience."""
    return Figure(
        name=f"class_mean_cosines_{space}",
        section="geometry",
        space=space,
        title=f"Cosines between class means: {SPACES[space]}",
        caption="Cosine of the angle between the directions of two classes' means, after the last "
        "experience. Orthogonal classes leave everything but the diagonal empty."
        + order_note(suite)
        + mean_note(suite),
        panels=tuple(_last_panels(suite, f"class_mean_cos/{space}")),
        **class_sizes(suite),
        scale="signed",
    )


def class_means_by_experience(suite: Suite, space: str, labels: Sequence[str] = ()) -> Figure:
    """The same after each experience, with the value that a simplex would have.

    Args:
        labels: rows to draw; by default up to `MOST_ROWS`.
    """
    shown = tuple(labels) or shown_rows(suite, suite.streamed_labels, MOST_ROWS)
    panels: list[Panel] = []
    for label in shown:
        found = class_matrices(suite, label, f"class_mean_cos/{space}")
        if found is None or len(found.values) < 2:
            continue
        for step in shown_steps(len(found.values)):
            note = _beside_simplex(found.values[step])
            panels.append(class_panel(label, found, step=step, note=note))
    sizes = class_sizes(suite)
    return Figure(
        name=f"class_mean_cosines_steps_{space}",
        section="geometry",
        space=space,
        title=f"Cosines between class means over the experiences: {SPACES[space]}",
        caption="Cosines between the means of the classes seen so far. Below each: their mean and "
        "deviation over pairs of classes, beside -1/(C - 1), the cosine of C equal directions as "
        "far apart as can be (a simplex), which centred means have at best. Orthogonal means have "
        "0." + order_note(suite) + mean_note(suite) + shown_note(shown, suite.streamed_labels),
        panels=tuple(panels),
        size=sizes["size"],
        margins=sizes["margins"]._replace(bottom=sizes["margins"].bottom + 0.2),
        scale="signed",
        columns=len({panel.step for panel in panels}),
    )


def similarity_of_means(suite: Suite, space: str) -> Figure:
    """SimO similarity of class means after the last experience: the paper's Figure 4 (b)."""
    return Figure(
        name=f"simo_similarity_{space}",
        section="geometry",
        space=space,
        title=f"SimO similarity of class means: {SPACES[space]}",
        caption="The similarity that the SimO loss sees between two classes' means, normalised to "
        "0 to 1, after the last experience." + order_note(suite) + mean_note(suite),
        panels=tuple(_last_panels(suite, f"simo_similarity/{space}")),
        **class_sizes(suite),
        scale="share",
    )


def similarity_of_samples(suite: Suite, space: str) -> Figure:
    """SimO similarity of test samples, class by class: the paper's Figure 4 (a)."""
    panels = []
    for label in suite.finished_labels:
        run = suite.finished(label)[0]
        points, classes = (run.embedding_sample(f"test_{name}") for name in (space, "labels"))
        if points is not None and classes is not None:
            panels.append(_samples_panel(suite, run, points, classes))
    return Figure(
        name=f"simo_similarity_samples_{space}",
        section="geometry",
        space=space,
        title=f"SimO similarity of samples: {SPACES[space]}",
        caption="The similarity that the SimO loss sees between two test samples, normalised to 0 "
        f"to 1: final model of the first finished seed, up to {SIMILARITY_SAMPLES} samples, class "
        "by class in the order in which they were learnt. Blocks on the diagonal are cohesive "
        "classes; shade elsewhere joins two.",
        panels=tuple(panels),
        **class_sizes(suite),
        scale="share",
    )


def _last_panels(suite: Suite, name: str) -> list[Panel]:
    """A panel for each label that has the array: its last (C, C) matrix."""
    found = {label: class_matrices(suite, label, name) for label in suite.finished_labels}
    return [class_panel(label, of) for label, of in found.items() if of is not None]


def _beside_simplex(cosines: np.ndarray) -> str:
    """Mean and deviation of the cosines of all pairs, beside a simplex's."""
    seen = int((~np.isnan(np.diag(cosines))).sum())
    if seen < 2:
        return ""
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    text = f"{fixed(np.nanmean(pairs), 2)} ± {np.nanstd(pairs):.2f}, simplex {-1 / (seen - 1):.2f}"
    return text.replace("-", "−")


def _samples_panel(suite: Suite, run: Run, points: np.ndarray, classes: np.ndarray) -> Panel:
    import torch

    from simo_cl.metrics.geometry import simo_similarity

    order, starts = learning_order(run, int(classes.max()) + 1)
    place = np.argsort(order)
    kept = spaced(place[classes], SIMILARITY_SAMPLES)
    values = simo_similarity(torch.tensor(points[kept], dtype=torch.float64)).numpy()
    classes, places = classes[kept], place[classes[kept]]
    ends = np.flatnonzero(np.diff(places)) + 1
    middles = np.split(np.arange(len(kept)), ends)
    same = classes[:, None] == classes
    pairs = {"one class": values[same & ~np.eye(len(kept), dtype=bool)]}
    pairs["different classes"] = values[~same]
    means = [f"of {which} {fixed(of.mean(), 2)}" for which, of in pairs.items() if of.size]
    few = len(order) <= MOST_NAMES
    return matrix_panel(
        run.label,
        values,
        f"{run.label}: mean similarity of samples {', '.join(means)}",
        ticks=[class_name(suite, classes[m[0]])[:10] for m in middles] if few else [],
        places=[float(m.mean()) for m in middles] if few else [],
        # With many classes a line between experiences, as everywhere else; with few, between them.
        borders=(ends if few else np.searchsorted(places, starts)).tolist(),
    )
