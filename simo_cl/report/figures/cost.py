"""What accuracy costs: in training time, and in forgetting."""

from __future__ import annotations

from matplotlib.axes import Axes

from simo_cl.report.drawing import (
    Line,
    Point,
    draw_lines,
    follow_choice,
    name_lines,
    show_value,
)
from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.curves import room_for_names
from simo_cl.report.figures.figure import Figure, Panel
from simo_cl.report.statistics import seed_spread
from simo_cl.report.wording import fixed
from simo_cl.results import Suite
from simo_cl.results.styles import styles


def accuracy_against_time(suite: Suite) -> Figure | None:
    """Final average accuracy and the time spent training."""
    return _scatter_figure(
        suite,
        x=("cost/train_seconds", *time_unit(suite)),
        y=("average_accuracy", "average accuracy"),
        name="accuracy_against_time",
        title="Accuracy against training time",
        caption="Final average accuracy and the time spent training; up and to the left is "
        "better. Times compare only runs on one machine with nothing else on it.",
    )


def plasticity(suite: Suite) -> Figure | None:
    """Learning accuracy and forgetting."""
    return _scatter_figure(
        suite,
        x=("learning_accuracy", 1.0, "learning accuracy (plasticity)"),
        y=("forgetting", "forgetting (lack of stability)"),
        name="plasticity",
        title="Plasticity and forgetting",
        caption="Accuracy on each experience right after training on it, and what is lost later; "
        "down and to the right is better.",
    )


def _scatter_figure(
    suite: Suite,
    *,
    x: tuple[str, float, str],
    y: tuple[str, str],
    name: str,
    title: str,
    caption: str,
) -> Figure | None:
    """Two final metrics against each other; `x` is (metric, factor, axis name), `y` without one."""
    drawn_as = styles(suite)
    dots = []
    for label in suite.finished_labels:
        across, up = (seed_spread(suite, label, metric) for metric in (x[0], y[0]))
        if across is not None and up is not None:
            at = across.mean * x[1]
            tip = f"{x[2]}: {at:.3g}\n{y[1]}: {show_value(up)}"
            dots.append(Line(label, drawn_as[label], (Point(at, up, label, tip),)))
    if not dots:
        return None

    def draw(ax: Axes) -> None:
        draw_lines(ax, dots)
        ax.margins(0.06)
        if x[0].startswith("cost/"):
            ax.set_xlim(left=0.0)
        ax.grid(visible=True, axis="both")
        ax.set_xlabel(x[2])
        ax.set_ylabel(y[1])
        name_lines(ax, dots)
        follow_choice(ax.xaxis)
        follow_choice(ax.yaxis)

    points = [(dot.name, dot.points[0]) for dot in dots]
    rows = "; ".join(f"{label} {at.x:.3g}, {fixed(at.y.mean, 3)}" for label, at in points)
    return Figure(
        name=name,
        section="cost",
        title=title,
        caption=caption + mean_note(suite),
        panels=(Panel("0", "", f"{title}: {rows}", draw),),
        **room_for_names([dot.name for dot in dots]),
    )


def time_unit(suite: Suite) -> tuple[float, str]:
    """What to multiply seconds of training by, and the axis name that goes with it."""
    longest = max(
        (run.final.get("cost/train_seconds", 0.0) for run in suite.finished_runs), default=0.0
    )
    units = {3600: "hours", 60: "minutes", 1: "seconds"}
    length = next((length for length in units if longest > 2 * length), 1)
    return 1 / length, f"{units[length]} of training, evaluation left out"
