"""Metrics over the experiences trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes

from simo_cl.report.drawing import Curve, draw_curves
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
