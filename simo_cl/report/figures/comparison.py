"""The strategies' final accuracy, and their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from simo_cl.report.drawing import SEEDS_FOR_A_BAND, draw_point, follow_choice, mark, show_value
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.statistics import (
    PRIMARY_METRIC,
    compare_with_control,
    half_width,
    seed_spread,
)
from simo_cl.report.wording import show_signed
from simo_cl.results import Suite
from simo_cl.results.styles import MUTED, Style, styles
from simo_cl.wording import count


def strategies_compared(suite: Suite) -> Figure | None:
    """Final average accuracy with every seed, and the differences from the control."""
    labels, drawn_as, control = suite.finished_labels, styles(suite), suite.control
    if not labels:
        return None
    compared = {c.label: c for c in compare_with_control(suite) if c.difference is not None}
    # What is drawn and no more: a figure is drawn again when what it holds has changed.
    accuracies = {label: list(suite.values(label, PRIMARY_METRIC).values()) for label in labels}
    means = {label: seed_spread(suite, label, PRIMARY_METRIC) for label in labels}

    def draw_accuracy(ax: Axes) -> None:
        for row, label in enumerate(labels):
            style, by_seed, found = drawn_as[label], accuracies[label], means[label]
            ys = [row] * len(by_seed)
            ax.plot(by_seed, ys, "|", color=style.colour, markersize=7, gid=mark(label))
            if found is not None:
                reach = half_width(found) if found.count >= SEEDS_FOR_A_BAND else None
                if reach is not None:
                    _interval(ax, row, found.mean - reach, found.mean + reach, style, label)
                draw_point(ax, found.mean, row, style, label, show_value(found))
        ax.set_xlim(0, 1)
        _row_axis(ax, labels, drawn_as)
        ax.set_xlabel("average accuracy: mean, 95 % interval, and each seed")

    def draw_differences(ax: Axes) -> None:
        ax.axvline(0, color=MUTED[0], linewidth=0.8, gid=mark(moves="yes"))
        for row, label in enumerate(labels):
            c, style = compared.get(label), drawn_as[label]
            if c is None or c.difference is None:
                continue
            if c.low is not None and c.high is not None:
                _interval(ax, row, c.low, c.high, style, label)
            draw_point(ax, c.difference, row, style, label, show_signed(c.difference))
        _row_axis(ax, labels, drawn_as)
        basis = count(max(len(c.seeds) for c in compared.values()), "seed")
        if any(c.low is not None for c in compared.values()):
            basis = "95 % interval"
        ax.set_xlabel(f"difference from {control}, {basis}")

    panels = [Panel("accuracy", "Average accuracy", "Final average accuracy", draw_accuracy)]
    if compared:
        title = f"Against {control}, paired by seed"
        panels.append(Panel("difference", title, title, draw_differences))
    return Figure(
        name="comparison",
        section="result",
        title="The strategies compared",
        caption="Final average accuracy, and the paired difference from the control.",
        panels=tuple(panels),
        size=(2.9, 0.24 * len(labels) + 0.1),
        margins=Margins(left=0.25 + 0.07 * max(map(len, labels)), right=0.2, bottom=0.5, top=0.3),
    )


def _interval(ax: Axes, row: int, low: float, high: float, style: Style, label: str) -> None:
    ax.plot([low, high], [row, row], color=style.colour, gid=mark(label))


def _row_axis(ax: Axes, labels: Sequence[str], drawn_as: Mapping[str, Style]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    for tick, label in zip(ax.yaxis.get_major_ticks(), labels, strict=True):
        tick.label1.set_color(drawn_as[label].colour)
        for part in (tick.label1, tick.gridline):
            part.set_gid(mark(label, row="yes"))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.spines["left"].set_visible(False)
    follow_choice(ax.xaxis)
