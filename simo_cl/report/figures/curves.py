"""Metrics over the experiences trained, and accuracy within them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from simo_cl.metrics.over_seeds import Spread, spread
from simo_cl.report.drawing import (
    NAME_POINTS,
    Line,
    Point,
    draw_lines,
    follow_choice,
    mark,
    name_lines,
    show_value,
)
from simo_cl.report.figures.captions import band_note
from simo_cl.report.figures.figure import POINTS_AN_INCH, Figure, Margins, Panel
from simo_cl.report.statistics import seed_curve
from simo_cl.report.wording import fixed
from simo_cl.results import Suite
from simo_cl.results.styles import styles

WIDE = (3.6, 2.9)


def accuracy(suite: Suite) -> Figure | None:
    """Average accuracy over the stream."""
    return _over_the_stream(
        suite,
        "average_accuracy",
        bounds=(0.0, 1.0),
        name="accuracy",
        title="Average accuracy on the experiences seen so far",
        caption="Test accuracy on every experience seen so far, averaged, after each experience.",
    )


def forgetting(suite: Suite) -> Figure | None:
    """Forgetting over the stream."""
    return _over_the_stream(
        suite,
        "forgetting",
        bounds=(-1.0, 1.0),
        name="forgetting",
        title="Forgetting of earlier experiences",
        caption="The best accuracy ever reached on an earlier experience minus the accuracy now, "
        "averaged over earlier experiences; lower is better.",
    )


def anytime(suite: Suite) -> Figure | None:
    """Accuracy on the classes seen so far, over the batches of an online stream."""
    measured = {label: _by_batch(suite, label) for label in suite.finished_labels}
    ends = _ends_of_experiences(suite, [label for label, points in measured.items() if points])
    drawn_as = styles(suite)

    def tip(batch: float, found: Spread) -> str:
        return f"after {batch:.0f} batches: {show_value(found)}" if batch in ends else ""

    def across(ax: Axes) -> None:
        ax.set_xticks(ends)
        ax.set_xlabel("batches trained, with the ends of experiences")

    lines = [
        Line(label, drawn_as[label], tuple(Point(x, y, label, tip(x, y)) for x, y in points))
        for label, points in measured.items()
        if points
    ]
    return _figure(
        suite,
        lines,
        across,
        bounds=(0.0, 1.0),
        of="accuracy",
        name="anytime",
        title="Accuracy within experiences",
        caption="Accuracy on a sample of test images of all experiences begun, every so many "
        "batches. Where an experience begins it falls by the new classes alone.",
    )


def stream_lines(suite: Suite, metric: str) -> list[Line]:
    """A line for every row that has the metric, over the experiences trained.

    That of a joint row is one point beside the axis: it has no experiences.
    """
    drawn_as = styles(suite)
    lines = []
    for label in suite.finished_labels:
        curve, joint = seed_curve(suite, label, metric), suite.is_joint(label)
        points = []
        for experience, found in curve:
            x = suite.num_experiences + 1 if joint else experience + 1
            where = "joint" if joint else f"after experience {x}"
            points.append(Point(x, found, label, f"{where}: {show_value(found)}"))
        if points:
            lines.append(Line(label, drawn_as[label], tuple(points)))
    return lines


def experience_axis(ax: Axes, experiences: int, lines: Sequence[Line]) -> None:
    """Experiences from 1, and a place at the right for joint rows."""
    ticks = experience_ticks(experiences)
    ax.set_xlim(0.75, experiences + 0.25)
    joint = [line.name for line in lines if line.points[0].x > experiences]
    ax.set_xticks(ticks)
    if joint:
        ax.set_xticks([*ticks, experiences + 1], [*map(str, ticks), "joint"])
        ax.get_xticklabels()[-1].set_gid(mark(*joint))
        ax.set_xlim(0.75, experiences + 1.25)
    ax.set_xlabel("experiences trained")


def experience_ticks(experiences: int) -> range:
    """Those from 1 that are named, at most ten."""
    return range(1, experiences + 1, math.ceil(experiences / 10))


def lasts(lines: Iterable[Line]) -> str:
    """The lines' last values in words."""
    return "; ".join(f"{line.name} {fixed(line.points[-1].y.mean, 3)}" for line in lines)


def room_for_names(labels: Sequence[str], size: tuple[float, float] = WIDE) -> dict[str, Any]:
    """Size and margins of a panel with the names of rows at the right, higher if they are many."""
    width, height = size
    right = 0.33 + 0.07 * max(map(len, labels))
    return {
        "size": (width, max(height, NAME_POINTS * len(labels) / POINTS_AN_INCH)),
        "margins": Margins(left=0.55, right=right, bottom=0.5, top=0.12),
    }


def _over_the_stream(
    suite: Suite, metric: str, *, bounds: tuple[float, float], name: str, title: str, caption: str
) -> Figure | None:
    lines = stream_lines(suite, metric)
    return _figure(
        suite,
        lines,
        partial(experience_axis, experiences=suite.num_experiences, lines=lines),
        bounds=bounds,
        of=metric.replace("_", " "),
        name=name,
        title=title,
        caption=caption,
    )


def _figure(
    suite: Suite,
    lines: Sequence[Line],
    across: Callable[[Axes], None],
    *,
    bounds: tuple[float, float],
    of: str,
    name: str,
    title: str,
    caption: str,
) -> Figure | None:
    """Lines with a name at the end of each.

    Args:
        across: makes the horizontal axis.
        bounds: the least and the greatest value that there can be; a share has all its axis.
        of: what the vertical axis is called.
    """
    if not lines:
        return None

    def draw(ax: Axes) -> None:
        draw_lines(ax, lines, bounds)
        across(ax)
        if bounds == (0, 1):
            ax.set_ylim(bounds)
        ax.set_ylabel(of)
        follow_choice(ax.yaxis, bounds)
        name_lines(ax, lines)

    return Figure(
        name=name,
        section="stream",
        title=title,
        caption=caption + band_note(suite),
        panels=(Panel("0", "", f"{title}, last: {lasts(lines)}", draw),),
        **room_for_names([line.name for line in lines]),
    )


def _by_batch(suite: Suite, label: str) -> list[tuple[float, Spread]]:
    """A row's accuracies by batch, with mean and deviation over seeds.

    Where seeds were measured after other batches, as experiences of other classes may be of another
    length, their curves are read at the first seed's.
    """
    runs = suite.finished(label)
    curves = [(run.array("anytime/batches"), run.array("anytime/accuracy")) for run in runs]
    whole = [(xs, ys) for xs, ys in curves if xs is not None and ys is not None]
    if not whole or len(whole) < len(curves):
        return []
    at = whole[0][0]
    values = np.array([np.interp(at, xs, ys) for xs, ys in whole])
    found = [(float(x), spread(of.tolist())) for x, of in zip(at, values.T, strict=True)]
    return [(x, over_seeds) for x, over_seeds in found if over_seeds is not None]


def _ends_of_experiences(suite: Suite, labels: Sequence[str]) -> list[int]:
    """Of the row with most of them, in batches."""
    ends: list[int] = []
    for label in labels:
        run = suite.finished(label)[0]
        batches, experience = run.array("anytime/batches"), run.array("anytime/experience")
        if batches is not None and experience is not None:
            last = np.append(np.diff(experience) > 0, True)
            ends = max(ends, batches[last].tolist(), key=len)
    return ends
