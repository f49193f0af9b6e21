"""What a suite's grid sweeps: accuracy, geometry and time against a setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from simo_cl.metrics.bounds import coherence_bound, welch_bound
from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.drawing import (
    draw_band,
    draw_point,
    follow_choice,
    mark,
    name_points,
    show_value,
)
from simo_cl.report.figures.captions import band_note
from simo_cl.report.figures.cost import time_unit
from simo_cl.report.figures.curves import room_for_names
from simo_cl.report.figures.figure import Figure, Panel
from simo_cl.report.optimum import class_cosine, optimum_of
from simo_cl.report.settings import lookup
from simo_cl.report.statistics import seed_spread
from simo_cl.results import Suite, variant_settings
from simo_cl.results.styles import HUES, MUTED, Style

SETTING_NAMES = {
    "memory.size": "images in the memory",
    "epsilon": "ε of SimO",
    "leaning": "leaning of SimO",
    "dimension": "dimensions of the embedding",
}
SIZE = (2.5, 2.1)


@dataclass(frozen=True)
class Series:
    """Rows that differ in one setting alone.

    Attributes:
        name: what they share, as `er` or `simo[leaning=0.1]`.
        rows: each value of the setting with its row's label, ascending.
    """

    name: str
    strategy: str
    rows: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Measure:
    """What a panel draws against the setting.

    Attributes:
        title: of the vertical axis.
        of: a row's value over seeds, given its label; None where undefined.
        theory: what the row's value would be at best, given the setting's value and its label.
        factor: what values are multiplied by.
        has_band: whether its interval over seeds says something of the strategy.
        bounds: the least and the greatest value that there can be.
    """

    title: str
    of: Callable[[str], Spread | None]
    theory: Callable[[float, str], float | None] | None = None
    factor: float = 1.0
    has_band: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)


def sweeps(suite: Suite, drawn_as: Mapping[str, Style]) -> list[Figure]:
    """A figure for every setting that has numbers as values, at least two for some strategy."""
    settings = (variant_settings(run.variant) for run in suite.runs)
    figures = []
    for key in dict.fromkeys(key for setting in settings for key in setting):
        series = swept(suite, key)
        if series:
            figures.append(_sweep(suite, drawn_as, key, series))
    return figures


def swept(suite: Suite, key: str) -> tuple[Series, ...]:
    """The finished rows by what they share beside a setting; at least two values in each series."""
    rows: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for label in suite.finished_labels:
        run = suite.finished(label)[0]
        others = variant_settings(run.variant)
        if key not in others:
            continue
        del others[key]
        value = lookup(run.config, key if "." in key else f"settings.{key}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            rest = ",".join(f"{name}={text}" for name, text in others.items())
            rows.setdefault((run.strategy, rest), []).append((float(value), label))
    return tuple(
        Series(f"{strategy}[{rest}]" if rest else strategy, strategy, tuple(sorted(points)))
        for (strategy, rest), points in rows.items()
        if len(points) > 1
    )


def _sweep(
    suite: Suite, drawn_as: Mapping[str, Style], key: str, series: Sequence[Series]
) -> Figure:
    name = SETTING_NAMES.get(key, key)
    styles = _series_styles(series, drawn_as)
    panels = [
        _panel(key, name, measure, series, styles)
        for measure in _measures(suite, key)
        if any(measure.of(label) for s in series for _, label in s.rows)
    ]
    return Figure(
        name=f"sweep_{key.replace('.', '_')}",
        section="sweeps",
        title=f"Accuracy against {name}",
        caption=f"Everything but {key} is the same along a line."
        + band_note(suite)
        + _theory(key)
        + " Times compare only runs on one machine with nothing else on it.",
        panels=tuple(panels),
        size=SIZE,
        margins=room_for_names(s.name for s in series),
    )


def _measures(suite: Suite, key: str) -> list[Measure]:
    def final(metric: str) -> Callable[[str], Spread | None]:
        return lambda label: seed_spread(suite, label, metric)

    def bound(best: Callable[[int, int], float]) -> Callable[[float, str], float | None]:
        classes = len(suite.plan.class_names)
        return lambda value, _: best(classes, int(value)) if classes > 1 else None

    measures = [
        Measure("average accuracy", final("average_accuracy"), bounds=(0, 1)),
        Measure("forgetting", final("forgetting"), bounds=(-1, 1)),
    ]
    if key in ("epsilon", "leaning"):
        measures.append(
            Measure(
                "cosine of class means",
                lambda label: class_cosine(suite, label),
                lambda _, label: optimum_of(suite, label),
                bounds=(-1, 1),
            )
        )
    if key == "dimension":
        geometry = "embedding/orthogonality"
        measures += [
            Measure(
                "largest |cos|",
                final(f"{geometry}/coherence"),
                bound(coherence_bound),
                bounds=(0, 1),
            ),
            Measure(
                "root mean square cos",
                final(f"{geometry}/rms_cos"),
                bound(welch_bound),
                bounds=(0, 1),
            ),
        ]
    length, unit = time_unit(suite)
    cost = Measure(unit.partition(",")[0], final("cost/train_seconds"), None, length, False)
    return [*measures, cost]


def _theory(key: str) -> str:
    if key in ("epsilon", "leaning"):
        return (
            " Dashed: the cosine at which the loss of two dissimilar vectors is smallest; measured "
            "is the mean cosine of two class means in the loss space, with its sign."
        )
    if key == "dimension":
        return (
            " Dashed: the least that as many directions can have in as many dimensions, the best "
            "known lower bound; measured between class means in the loss space."
        )
    return ""


def _panel(
    key: str, name: str, measure: Measure, series: Sequence[Series], styles: Mapping[str, Style]
) -> Panel:
    measured = {
        s: [(x, label, found) for x, label in s.rows if (found := measure.of(label)) is not None]
        for s in series
    }
    rows = {s.name: [label for _, label in s.rows] for s in series}

    def draw(ax: Axes) -> None:
        ends = []
        for s, points in measured.items():
            if not points:
                continue
            style, xs = styles[s.name], [x for x, _, _ in points]
            labels = rows[s.name]
            ys = [found.mean * measure.factor for _, _, found in points]
            ax.plot(xs, ys, color=style.colour, linestyle=style.dashes, gid=mark(*labels))
            if measure.has_band:
                spreads = [found for _, _, found in points]
                draw_band(ax, xs, spreads, style, labels, measure.factor, measure.bounds)
            for x, y, (_, label, found) in zip(xs, ys, points, strict=True):
                tip = show_value(found) if measure.factor == 1 else f"{y:.3g}"
                draw_point(ax, x, y, style, label, tip)
            ends.append((s.name, xs[-1], ys[-1]))
        _draw_theory(ax, measure, series, styles)
        _value_axis(ax, name, [x for s in series for x, _ in s.rows])
        ax.set_ylabel(measure.title)
        name_points(ax, ends, styles, rows)
        follow_choice(ax.yaxis)

    alternative = f"{measure.title} against {name}. " + "; ".join(
        f"{s.name}: " + ", ".join(f"{o.mean * measure.factor:.3g} at {x:.3g}" for x, _, o in points)
        for s, points in measured.items()
    )
    return Panel(measure.title.replace(" ", "-"), "", alternative, draw)


def _draw_theory(
    ax: Axes, measure: Measure, series: Sequence[Series], styles: Mapping[str, Style]
) -> None:
    """Dashed, in the colour of what it belongs to; once and grey if it is the same for all."""
    if measure.theory is None:
        return
    lines: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for s in series:
        found = [(x, measure.theory(x, label)) for x, label in s.rows]
        line = tuple((x, y) for x, y in found if y is not None)
        lines.setdefault(line, []).append(s.name)
    for line, names in lines.items():
        colour = styles[names[0]].colour if len(names) == 1 < len(series) else MUTED[0]
        of = mark(*(label for s in series if s.name in names for _, label in s.rows))
        (best,) = ax.plot(*zip(*line, strict=True), color=colour, linestyle=(0, (4, 2)))
        best.set(linewidth=1.1, gid=of)


def _series_styles(series: Sequence[Series], drawn_as: Mapping[str, Style]) -> dict[str, Style]:
    """A strategy's own style where it has one series; colours of their own where it has several."""
    strategies = [s.strategy for s in series]
    found = {}
    for index, s in enumerate(series):
        style = drawn_as[s.rows[0][1]]
        if strategies.count(s.strategy) > 1:
            light, dark = list(HUES.values())[-1 - index % len(HUES)]
            style = Style(light, dark, "osD^vPX"[index % 7])
        found[s.name] = style
    return found


def _value_axis(ax: Axes, name: str, values: Sequence[float]) -> None:
    """Ticks at the values themselves, on a logarithmic axis where they spread far."""
    ticks = sorted(set(values))
    above = [value for value in ticks if value > 0]
    if ticks[0] >= 0 and above[-1] >= 8 * above[0]:
        if ticks[0] > 0:
            ax.set_xscale("log")
        else:
            ax.set_xscale("symlog", linthresh=above[0])
    ax.set_xticks(ticks, [f"{v:,.0f}" if v >= 1000 else f"{v:.3g}" for v in ticks])
    ax.minorticks_off()
    ax.set_xlabel(name)
