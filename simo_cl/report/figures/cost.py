"""What accuracy costs: in training time, and in forgetting."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from simo_cl.report.drawing import draw_point, follow_choice, name_points, show_value
from simo_cl.report.figures.captions import mean_note
from simo_cl.report.figures.curves import WIDE, room_for_names
from simo_cl.report.figures.figure import Figure, Panel
from simo_cl.report.statistics import seed_spread
from simo_cl.report.wording import fixed
from simo_cl.results import Suite
from simo_cl.results.styles import Style


def accuracy_against_time(suite: Suite, drawn_as: Mapping[str, Style]) -> Figure | None:
    """Final average accuracy and the time spent training."""
    return _scatter_figure(
        suite,
        drawn_as,
        x=("cost/train_seconds", *time_unit(suite)),
        y=("average_accuracy", 1.0, "average accuracy"),
        x_from_zero=True,
        name="accuracy_against_time",
        title="Accuracy against training time",
        caption="Final average accuracy and the time spent training; up and to the left is "
        "better. Times compare only runs on one machine with nothing else on it.",
    )


def plasticity(suite: Suite, drawn_as: Mapping[str, Style]) -> Figure | None:
    """Learning accuracy and forgetting."""
    return _scatter_figure(
        suite,
        drawn_as,
        x=("learning_accuracy", 1.0, "learning accuracy (plasticity)"),
        y=("forgetting", 1.0, "forgetting (lack of stability)"),
        name="plasticity",
        title="Plasticity and forgetting",
        caption="Accuracy on each experience right after training on it, and what is lost later; "
        "down and to the right is better.",
    )


def _scatter_figure(
    suite: Suite,
    drawn_as: Mapping[str, Style],
    *,
    x: tuple[str, float, str],
    y: tuple[str, float, str],
    name: str,
    title: str,
    caption: str,
    x_from_zero: bool = False,
) -> Figure | None:
    """Two final metrics against each other; `x` and `y` are (metric, factor, axis name)."""
    points = []
    for label in suite.finished_labels:
        across, up = (seed_spread(suite, label, metric) for metric, _, _ in (x, y))
        if across is not None and up is not None:
            points.append((label, across, up))
    if not points:
        return None

    def draw(ax: Axes) -> None:
        placed = []
        for label, across, up in points:
            at = (across.mean * x[1], up.mean * y[1])
            tip = f"{x[2]}: {across.mean * x[1]:.3g}\n{y[2]}: {show_value(up)}"
            draw_point(ax, *at, drawn_as[label], label, tip)
            placed.append((label, *at))
        ax.margins(0.06)
        if x_from_zero:
            ax.set_xlim(left=0.0)
        ax.grid(visible=True, axis="both")
        ax.set_xlabel(x[2])
        ax.set_ylabel(y[2])
        name_points(ax, placed, drawn_as)
        follow_choice(ax.xaxis)
        follow_choice(ax.yaxis)

    rows = "; ".join(f"{a[0]} {a[1].mean * x[1]:.3g}, {fixed(a[2].mean, 3)}" for a in points)
    return Figure(
        name=name,
        section="cost",
        title=title,
        caption=caption + mean_note(suite),
        panels=(Panel("0", "", f"{title}: {rows}", draw),),
        size=WIDE,
        margins=room_for_names(label for label, _, _ in points),
    )


def time_unit(suite: Suite) -> tuple[float, str]:
    """What to multiply seconds of training by, and the axis name that goes with it."""
    longest = max(
        (run.final.get("cost/train_seconds", 0.0) for run in suite.finished_runs), default=0.0
    )
    length, unit = next(
        (length, unit)
        for length, unit in ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        if longest > 2 * length or length == 1
    )
    return 1 / length, f"{unit} of training, evaluation left out"
