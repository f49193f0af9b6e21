"""Metrics over the experiences trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from simo_cl.metrics.over_seeds import Spread, spread
from simo_cl.report.drawing import (
    Curve,
    draw_band,
    draw_curves,
    draw_point,
    follow_choice,
    mark,
    name_points,
    show_value,
)
from simo_cl.report.figures.captions import band_note
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.statistics import seed_curve
from simo_cl.report.wording import fixed
from simo_cl.results import Suite
from simo_cl.results.styles import Style

WIDE = (3.6, 2.9)


def accuracy(suite: Suite, drawn_as: Mapping[str, Style]) -> Figure | None:
    """Average accuracy over the stream."""
    return _curve_figure(
        suite,
        drawn_as,
        metric="average_accuracy",
        name="accuracy",
        title="Average accuracy on the experiences seen so far",
        caption="Test accuracy on every experience seen so far, averaged, after each experience.",
        y_range=(0.0, 1.0),
        bounds=(0.0, 1.0),
    )


def forgetting(suite: Suite, drawn_as: Mapping[str, Style]) -> Figure | None:
    """Forgetting over the stream."""
    return _curve_figure(
        suite,
        drawn_as,
        metric="forgetting",
        name="forgetting",
        title="Forgetting of earlier experiences",
        caption="The best accuracy ever reached on an earlier experience minus the accuracy now, "
        "averaged over earlier experiences; lower is better.",
        bounds=(-1.0, 1.0),
    )


def anytime(suite: Suite, drawn_as: Mapping[str, Style]) -> Figure | None:
    """Accuracy on the classes seen so far, over the batches of an online stream."""
    curves = {
        label: points for label in suite.finished_labels if (points := _by_batch(suite, label))
    }
    if not curves:
        return None
    ends = _ends_of_experiences(suite, list(curves))

    def draw(ax: Axes) -> None:
        for label, points in curves.items():
            xs, spreads = [batch for batch, _ in points], [found for _, found in points]
            draw_band(ax, xs, spreads, drawn_as[label], (label,), bounds=(0.0, 1.0))
            (line,) = ax.plot(
                xs,
                [found.mean for found in spreads],
                color=drawn_as[label].colour,
                linestyle=drawn_as[label].dashes,
            )
            line.set_gid(mark(label))
            for batch, found in points:
                if batch in ends:
                    tip = f"after {batch:.0f} batches: {show_value(found)}"
                    draw_point(ax, batch, found.mean, drawn_as[label], label, tip)
        ax.set_ylim(0.0, 1.0)
        follow_choice(ax.yaxis)
        ax.set_xticks(ends)
        ax.set_xlabel("batches trained, with the ends of experiences")
        ax.set_ylabel("accuracy")
        last = [(label, *_place(points[-1])) for label, points in curves.items()]
        name_points(ax, last, drawn_as)

    lasts = "; ".join(f"{name} {fixed(points[-1][1].mean, 3)}" for name, points in curves.items())
    return Figure(
        name="anytime",
        section="stream",
        title="Accuracy within experiences",
        caption="Accuracy on a sample of test images of all experiences begun, every so many "
        "batches. Where an experience begins it falls by the new classes alone." + band_note(suite),
        panels=(Panel("0", "", f"Accuracy within experiences, last: {lasts}", draw),),
        size=WIDE,
        margins=room_for_names(curves),
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
    found = [
        (float(x), spread(of_seeds.tolist())) for x, of_seeds in zip(at, values.T, strict=True)
    ]
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


def _place(point: tuple[float, Spread]) -> tuple[float, float]:
    return point[0], point[1].mean


def _curve_figure(
    suite: Suite,
    drawn_as: Mapping[str, Style],
    *,
    metric: str,
    name: str,
    title: str,
    caption: str,
    bounds: tuple[float, float],
    y_range: tuple[float | None, float | None] = (None, None),
) -> Figure | None:
    """One metric over the experiences trained, with a name at the end of every line."""
    curves = seed_curves(suite, metric)
    if not curves:
        return None

    experiences = suite.num_experiences

    def draw(ax: Axes) -> None:
        draw_curves(
            ax,
            curves,
            drawn_as,
            experiences=experiences,
            y_range=y_range,
            bounds=bounds,
            name_lines=True,
        )
        ax.set_ylabel(metric.replace("_", " "))

    return Figure(
        name=name,
        section="stream",
        title=title,
        caption=caption + band_note(suite),
        panels=(Panel("0", "", f"{title}, final: {finals(curves)}", draw),),
        size=WIDE,
        margins=room_for_names(curve.label for curve in curves),
    )


def seed_curves(suite: Suite, metric: str) -> list[Curve]:
    """A curve for every row that has the metric."""
    curves = []
    for label in suite.finished_labels:
        points = seed_curve(suite, label, metric)
        if points:
            curves.append(Curve(label, tuple(points), joint=suite.is_joint(label)))
    return curves


def room_for_names(labels: Iterable[str]) -> Margins:
    """Margins with the names of rows at the right."""
    return Margins(left=0.55, right=0.33 + 0.07 * max(map(len, labels)), bottom=0.5, top=0.12)


def finals(curves: Sequence[Curve]) -> str:
    """The curves' last values in words."""
    return "; ".join(f"{curve.label} {fixed(curve.points[-1][1].mean, 3)}" for curve in curves)
