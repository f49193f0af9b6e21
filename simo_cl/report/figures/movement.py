"""Figure 5 of the paper: how the class neighbourhoods appear and move over the experiences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.embeddings import (
    Groups,
    Later,
    dot_colour,
    frame,
    group_classes,
    main_space,
    name_group,
    shown_note,
    shown_rows,
    shown_steps,
    spaced,
    tsne_layout,
)
from simo_cl.report.figures.figure import SPACES, Figure, Margins, Panel
from simo_cl.report.wording import fixed
from simo_cl.results import Run, Suite
from simo_cl.results.styles import RULE

MOST_ROWS = 10
POINTS_OF_A_ROW = 800
NUMBERS = {
    "neighbourhood/knn_purity": ("purity", 2),
    "collapse/effective_rank": ("rank", 1),
    "orthogonality/mean_abs_cos": ("|cos|", 2),
    "drift/class_mean": ("drift", 2),
}


@dataclass(frozen=True)
class _Movement:
    """One run's points after some experiences, all in one layout.

    Attributes:
        steps: (S,) the experiences.
        layout: gives (S, n, 2).
        group: (n,) what the colour of each point is; `learnt` (S, n) whether it has one yet.
    """

    steps: np.ndarray
    layout: Callable[[], np.ndarray]
    group: np.ndarray
    learnt: np.ndarray
    groups: Groups


def movement(suite: Suite, labels: Sequence[str] = ()) -> Figure:
    """The same test images after each experience, with the numbers that were measured then.

    Args:
        labels: rows to draw; by default up to `MOST_ROWS`.
    """
    shown = tuple(labels) or shown_rows(suite, suite.streamed_labels, MOST_ROWS)
    panels: list[Panel] = []
    colours: dict[str, str] = {}
    for label in shown:
        run = suite.finished(label)[0]
        moved = _movement(suite, run)
        if moved is None:
            continue
        colours |= moved.groups.colours
        panels += _panels(run, moved)
    return Figure(
        name="movement",
        section="embeddings",
        title="How the class neighbourhoods appear and move",
        caption="The same test images after each experience: grey until their class is learnt, "
        "then with a line from where the middle of the class was before. The first finished seed, "
        "in the loss space, or in encoder features where a strategy has none. All experiences of a "
        "row are in one t-SNE: a neighbourhood that stays in its place has not moved; how far one "
        "jumps means nothing, its drift does. Under each what was measured then: 10-nearest-"
        "neighbour purity, effective rank, mean |cos| of class means, drift of old class means."
        + shown_note(shown, suite.streamed_labels),
        panels=tuple(panels),
        size=(1.85, 1.85),
        margins=Margins(left=0.06, right=0.06, bottom=0.42, top=0.28),
        colours=colours | {"not learnt yet": RULE[0]} if panels else {},
        columns=len({panel.step for panel in panels}),
    )


def _movement(suite: Suite, run: Run) -> _Movement | None:
    points = run.snapshot_sample(main_space(run))
    classes = run.snapshot_sample("labels")
    taught = run.array("experience_of_class")
    if points is None or classes is None or taught is None:
        return None
    steps = np.array(shown_steps(len(points)))
    kept = spaced(classes, POINTS_OF_A_ROW // len(steps))
    chosen = points[np.ix_(steps, kept)]
    layout = Later(partial(tsne_layout, chosen.reshape(-1, points.shape[2])))
    groups = group_classes(suite, run, np.unique(classes))
    return _Movement(
        steps=steps,
        layout=lambda: layout().reshape(len(steps), len(kept), 2),
        group=groups.of_class[classes[kept]],
        learnt=taught[classes[kept]] <= steps[:, None],
        groups=groups,
    )


def _panels(run: Run, moved: _Movement) -> list[Panel]:
    space = main_space(run)
    measured = {trained.experience: trained.metrics for trained in run.history}
    panels = []
    for index, step in enumerate(moved.steps.tolist()):
        numbers = _show_numbers(measured.get(step, {}), space)
        title = f"{run.label} · after exp. {step + 1}"
        alternative = (
            f"{run.label}, seed {run.seed}, {SPACES[space]}, after experience {step + 1}: "
            + ", ".join(numbers)
        )
        key = f"{run.label}-{step}"
        draw = _drawer(moved, index, numbers)
        panels.append(Panel(key, title, alternative, draw, label=run.label, step=step))
    return panels


def _show_numbers(metrics: Mapping[str, float], space: str) -> list[str]:
    return [
        f"{text} {fixed(metrics[f'{space}/{name}'], digits)}"
        for name, (text, digits) in NUMBERS.items()
        if f"{space}/{name}" in metrics
    ]


def _drawer(moved: _Movement, index: int, numbers: Sequence[str]) -> Callable[[Axes], None]:
    def draw(ax: Axes) -> None:
        layout, learnt = moved.layout(), moved.learnt[index]
        xy = layout[index]
        if not learnt.all():
            draw_dots(ax, xy[~learnt], RULE[0])
        for group in np.unique(moved.group[learnt]):
            draw_dots(ax, xy[learnt & (moved.group == group)], dot_colour(group))
        for group in np.unique(moved.group[learnt]):
            inside = moved.group == group
            since = moved.learnt[: index + 1, inside].any(axis=1)
            middles = np.median(layout[: index + 1, inside][since], axis=1)
            ax.plot(middles[:, 0], middles[:, 1], color=dot_colour(group), linewidth=1, alpha=0.6)
            name_group(ax, middles[-1], moved.groups.names[group], dot_colour(group))
        frame(ax, layout.reshape(-1, 2))
        ax.set_xlabel("\n".join((", ".join(numbers[:2]), ", ".join(numbers[2:]))), fontsize=7.5)

    return draw
