"""What a suite's grid sweeps: accuracy, geometry and time against a setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes

from simo_cl.metrics.bounds import coherence_bound, welch_bound
from simo_cl.metrics.over_seeds import Spread
from simo_cl.report.drawing import (
    ANY_VALUE,
    Line,
    Point,
    draw_lines,
    follow_choice,
    mark,
    name_lines,
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
from simo_cl.results.styles import HUES, MUTED, Style, styles

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
        bounds: the least and the greatest value that there can be.
        band: whether its interval over seeds says something of the strategy.
    """

    title: str
    of: Callable[[str], Spread | None]
    theory: Callable[[float, str], float | None] = lambda value, label: None
    bounds: tuple[float, float] = ANY_VALUE
    band: bool = True


def sweeps(suite: Suite) -> list[Figure]:
    """A figure for every setting that has numbers as values, at least two for some strategy."""
    settings = (variant_settings(run.variant) for run in suite.runs)
    keys = dict.fromkeys(key for setting in settings for key in setting)
    return [_sweep(suite, key, series) for key in keys if (series := swept(suite, key))]


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


def _sweep(suite: Suite, key: str, series: Sequence[Series]) -> Figure:
    name = SETTING_NAMES.get(key, key)
    looks = _looks(suite, series)
    panels = [_panel(name, measure, series, looks) for measure in _measures(suite, key)]
    return Figure(
        name=f"sweep_{key.replace('.', '_')}",
        section="sweeps",
        title=f"Accuracy against {name}",
        caption=f"Everything but {key} is the same along a line."
        + band_note(suite)
        + _THEORY.get(key, "")
        + " Times compare only runs on one machine with nothing else on it.",
        panels=tuple(panel for panel in panels if panel is not None),
        **room_for_names([s.name for s in series], SIZE),
    )


def _measures(suite: Suite, key: str) -> list[Measure]:
    def final(metric: str, factor: float = 1.0) -> Callable[[str], Spread | None]:
        def of(label: str) -> Spread | None:
            found = seed_spread(suite, label, metric)
            if found is None or factor == 1:
                return found
            std = None if found.std is None else factor * found.std
            return replace(found, mean=factor * found.mean, std=std)

        return of

    def bound(best: Callable[[int, int], float]) -> Callable[[float, str], float | None]:
        classes = len(suite.plan.class_names)
        return lambda value, _: best(classes, int(value)) if classes > 1 else None

    cosine = Measure(
        "cosine of class means",
        lambda label: class_cosine(suite, label),
        lambda _, label: optimum_of(suite, label),
        bounds=(-1, 1),
    )
    orthogonality = [
        Measure(title, final(f"embedding/orthogonality/{metric}"), bound(best), bounds=(0, 1))
        for title, metric, best in (
            ("largest |cos|", "coherence", coherence_bound),
            ("root mean square cos", "rms_cos", welch_bound),
        )
    ]
    factor, unit = time_unit(suite)
    return [
        Measure("average accuracy", final("average_accuracy"), bounds=(0, 1)),
        Measure("forgetting", final("forgetting"), bounds=(-1, 1)),
        *{"epsilon": [cosine], "leaning": [cosine], "dimension": orthogonality}.get(key, []),
        Measure(unit.partition(",")[0], final("cost/train_seconds", factor), band=False),
    ]


_COSINE = (
    " Dashed: the cosine at which the loss of two dissimilar vectors is smallest; measured "
    "is the mean cosine of two class means in the loss space, with its sign."
)
_THEORY = {
    "epsilon": _COSINE,
    "leaning": _COSINE,
    "dimension": " Dashed: the least that as many directions can have in as many dimensions, the "
    "best known lower bound; measured between class means in the loss space.",
}


def _panel(
    name: str, measure: Measure, series: Sequence[Series], looks: Sequence[Style]
) -> Panel | None:
    lines = []
    for s, style in zip(series, looks, strict=True):
        found = [(x, measure.of(label), label) for x, label in s.rows]
        points = tuple(Point(x, y, label, show_value(y)) for x, y, label in found if y is not None)
        if points:
            lines.append(Line(s.name, style, points, band=measure.band))
    if not lines:
        return None
    theory = _theory(measure, series, looks)
    values = [x for s in series for x, _ in s.rows]

    def draw(ax: Axes) -> None:
        draw_lines(ax, lines, measure_bounds)
        for line, colour, rows in theory:
            (best,) = ax.plot(*zip(*line, strict=True), color=colour, linestyle=(0, (4, 2)))
            best.set(linewidth=1.1, gid=mark(*rows))
        _value_axis(ax, name, values)
        ax.set_ylabel(title)
        name_lines(ax, lines)
        follow_choice(ax.yaxis, measure_bounds)

    # Not the measure itself, which holds the suite.
    title, measure_bounds = measure.title, measure.bounds
    alternative = f"{title} against {name}. " + "; ".join(
        f"{line.name}: " + ", ".join(f"{p.y.mean:.3g} at {p.x:.3g}" for p in line.points)
        for line in lines
    )
    return Panel(title.replace(" ", "-"), "", alternative, draw)


def _theory(
    measure: Measure, series: Sequence[Series], looks: Sequence[Style]
) -> list[tuple[tuple[tuple[float, float], ...], str, list[str]]]:
    """Points, colour and rows of each line that is best in theory: in the colour of the series that
    it belongs to; once and grey if it is the same for all."""
    lines: dict[tuple[tuple[float, float], ...], list[int]] = {}
    for index, s in enumerate(series):
        found = [(x, measure.theory(x, label)) for x, label in s.rows]
        line = tuple((x, y) for x, y in found if y is not None)
        if line:
            lines.setdefault(line, []).append(index)
    return [
        (
            line,
            looks[of[0]].colour if len(of) == 1 < len(series) else MUTED[0],
            [label for index in of for _, label in series[index].rows],
        )
        for line, of in lines.items()
    ]


def _looks(suite: Suite, series: Sequence[Series]) -> list[Style]:
    """A strategy's own style where it has one series; colours of their own where it has several."""
    strategies, drawn_as = [s.strategy for s in series], styles(suite)
    hues = list(reversed(HUES.values()))
    return [
        Style(*hues[index % len(hues)], "osD^vPX"[index % 7])
        if strategies.count(s.strategy) > 1
        else drawn_as[s.rows[0][1]]
        for index, s in enumerate(series)
    ]


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
