"""Figure 5 of the paper: how the class neighbourhoods appear and move over the experiences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_dots
from simo_cl.report.figures.embeddings import (
    Layout,
    dot_colour,
    frame,
    group_classes,
    main_space,
    name_group,
    shown_note,
    shown_rows,
    shown_steps,
    spaced,
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
        points, classes = (run.snapshot_sample(name) for name in (main_space(run), "labels"))
        taught = run.array("experience_of_class")
        if points is None or classes is None or taught is None:
            continue
        steps = shown_steps(len(points))
        kept = spaced(classes, POINTS_OF_A_ROW // len(steps))
        groups = group_classes(suite, run, np.unique(classes))
        colours |= groups.colours
        draw = partial(
            _draw,
            layout=Layout(points[np.array(steps)[:, None], kept].reshape(-1, points.shape[2])),
            groups=groups.names,
            of_point=groups.of_class[classes[kept]],
            learnt=taught[classes[kept]] <= np.array(steps)[:, None],
        )
        panels += [_panel(run, step, partial(draw, at=at)) for at, step in enumerate(steps)]
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


def _panel(run: Run, step: int, draw: Callable[..., None]) -> Panel:
    space = main_space(run)
    metrics = next((m.metrics for m in run.history if m.experience == step), {})
    numbers = [
        f"{text} {fixed(metrics[f'{space}/{name}'], digits)}"
        for name, (text, digits) in NUMBERS.items()
        if f"{space}/{name}" in metrics
    ]
    return Panel(
        f"{run.label}-{step}",
        f"{run.label} · after exp. {step + 1}",
        f"{run.label}, seed {run.seed}, {SPACES[space]}, after experience {step + 1}: "
        + ", ".join(numbers),
        partial(draw, numbers=numbers),
        label=run.label,
        step=step,
    )


def _draw(
    ax: Axes,
    layout: Layout,
    groups: Mapping[int, str],
    of_point: np.ndarray,
    learnt: np.ndarray,
    at: int,
    numbers: Sequence[str],
) -> None:
    """One run's points after one of its experiences, all of which are in one layout.

    Args:
        layout: of (S n) points.
        groups: names of what colours mean; `of_point` (n,) what that of each point is, and
            `learnt` (S, n) whether it has one yet.
        at: the experience's place among the S.
        numbers: to stand below.
    """
    xy = layout.xy.reshape(*learnt.shape, 2)
    if not learnt[at].all():
        draw_dots(ax, xy[at][~learnt[at]], RULE[0])
    present = np.unique(of_point[learnt[at]])
    for group in present:
        draw_dots(ax, xy[at][learnt[at] & (of_point == group)], dot_colour(group))
    for group in present:
        inside = learnt[at] & (of_point == group)
        since = learnt[: at + 1, inside].all(axis=1)
        middles = np.median(xy[: at + 1, inside][since], axis=1)
        ax.plot(middles[:, 0], middles[:, 1], color=dot_colour(group), linewidth=1, alpha=0.6)
        name_group(ax, middles[-1], groups[group], dot_colour(group))
    frame(ax, layout.xy)
    ax.set_xlabel("\n".join((", ".join(numbers[:2]), ", ".join(numbers[2:]))), fontsize=7.5)
