"""Mean ranks over several data sets, and which of them are not told apart."""

from __future__ import annotations

from matplotlib.axes import Axes

from simo_cl.report.cells import p_cell
from simo_cl.report.data_sets import rank_over_data_sets
from simo_cl.report.drawing import draw_point
from simo_cl.report.figures.figure import Figure, Margins, Panel
from simo_cl.report.statistics import ALPHA
from simo_cl.results import Suite
from simo_cl.results.styles import INK, MUTED, styles
from simo_cl.wording import listed

_LINE = 0.2
"""Inches from one name or bar to the next."""


def critical_difference_diagram(suite: Suite) -> Figure | None:
    """A dot a strategy on an axis of mean ranks, and a bar over each group that is not told apart;
    None unless the suite is of several on other data."""
    ranking = rank_over_data_sets(suite)
    if ranking is None:
        return None
    standings = sorted(ranking.standings, key=lambda standing: standing.mean_rank)
    groups = [
        (group[0].mean_rank, group[-1].mean_rank, [standing.label for standing in group])
        for group in ranking.not_told_apart
    ]
    count, critical = len(standings), ranking.critical
    drawn_as = styles(suite)

    def draw(ax: Axes) -> None:
        ax.plot([1, 1 + critical], [-1, -1], color=INK[0], marker="|", markersize=6)
        ax.text(1 + critical / 2, -1.25, f"critical difference {critical:.2f}", ha="center")
        for line, (best, worst, _) in enumerate(groups):
            ax.plot([best - 0.03, worst + 0.03], [line, line], color=INK[0], linewidth=3.2)
        for place, standing in enumerate(standings):
            line = len(groups) + place
            style = drawn_as[standing.row]
            tip = f"mean rank {standing.mean_rank:.2f}"
            ax.plot([standing.mean_rank] * 2, [0, line], color=MUTED[0], linewidth=0.5)
            draw_point(ax, standing.mean_rank, line, style, standing.label, tip)
            ax.text(
                standing.mean_rank + 0.02 * count,
                line,
                f"{standing.label}  {standing.mean_rank:.2f}",
                color=style.colour,
                fontsize=8,
                va="center",
            )
        ax.set_xlim(0.9, max(count, 1 + critical) + 0.1)
        ax.set_xticks(range(1, count + 1))
        ax.set_ylim(len(groups) + count - 0.5, -1.8)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("mean rank, 1 is the best")

    test = "" if ranking.friedman is None else f" Friedman's p is {p_cell(ranking.friedman)}."
    apart = (
        "A bar joins strategies that Nemenyi's test does not tell apart, which does not mean equal."
        if ranking.tells_apart
        else "Friedman's test tells none of them apart, so one bar joins all."
    )
    ranks = "; ".join(f"{s.label} {s.mean_rank:.2f}" for s in standings)
    joined = "; ".join(listed(labels) for *_, labels in groups)
    return Figure(
        name="critical_difference",
        section="statistics",
        title="Ranks over the data sets",
        caption=f"Mean ranks of the mean average accuracy in {len(ranking.data_sets)} data sets "
        f"({listed(ranking.data_sets)}).{test} {apart} Level {ALPHA:.2g}.",
        panels=(
            Panel(
                "0",
                "",
                f"Mean ranks: {ranks}. Critical difference {critical:.2f}. "
                f"Not told apart: {joined or 'none'}.",
                draw,
            ),
        ),
        size=(4.6, _LINE * (count + len(groups) + 2)),
        margins=Margins(
            left=0.15,
            right=0.5 + 0.07 * max(len(standing.label) for standing in standings),
            bottom=0.5,
            top=0.1,
        ),
    )
