"""The first table of the page, grouped by what the tests tell apart, and the terminal's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from rich.markup import escape
from rich.table import Table

from simo_cl.metrics.described import METRICS
from simo_cl.report.cells import (
    Cell,
    Column,
    Group,
    PageTable,
    Row,
    difference_cell,
    metric_cell,
    number_cell,
    p_cell,
    spread_note,
)
from simo_cl.report.findings import without_control
from simo_cl.report.settings import compare_settings, unplanned
from simo_cl.report.statistics import (
    ALPHA,
    PRIMARY_METRIC,
    Comparison,
    compare_with_control,
    half_width,
    seed_spread,
)
from simo_cl.results import Suite
from simo_cl.wording import count, differ, listed


def make_leaderboard(suite: Suite, comparisons: Sequence[Comparison]) -> PageTable:
    """Every row with a finished run, in groups that the data do not order."""
    by_label = {c.label: c for c in comparisons}
    columns = list(_columns(suite, by_label))
    groups = []
    for title, note, labels in _groups(suite, by_label):
        rows = [Row(label, tuple(of(label) for _, of in columns), label) for label in labels]
        if rows:
            groups.append(Group(tuple(rows), title, note))
    parts = [spread_note(suite)]
    if any(c.low is not None for c in comparisons):
        parts.append("differences with 95 % paired t intervals, p after Holm")
    if any(c.verdict == "above" for c in comparisons):
        parts.append(f"bold: above {suite.control} (p < {ALPHA:.2g})")
    return PageTable(
        "result",
        "Average accuracy and forgetting",
        "strategy",
        tuple(column for column, _ in columns),
        tuple(groups),
        "; ".join(parts),
    )


def comparison_table(suite: Suite) -> Table:
    """The comparison of a suite's strategies, for the terminal.

    Rows stand in the suite's order, never in the order of their means.
    """
    comparisons = {c.label: c for c in compare_with_control(suite)}
    title = f"{suite.plan.suite} · {suite.plan.data}" if suite.plan.data else suite.plan.suite
    table = Table(title=escape(title))
    table.add_column("strategy", no_wrap=True)
    for heading in ("seeds", "average accuracy", "forgetting"):
        table.add_column(heading, justify="right")
    if comparisons:
        table.add_column(escape(f"difference from {suite.control}"), justify="right")
    table.add_column("mean training\nof a run", justify="right")
    for label in suite.finished_labels:
        c = comparisons.get(label)
        star = " *" if c is not None and c.verdict in ("above", "below") else ""
        cells = [
            label,
            str(len(suite.finished(label))),
            str(metric_cell(suite, label, PRIMARY_METRIC)),
            str(metric_cell(suite, label, "forgetting")),
            *([f"{difference_cell(c)}{star}"] if comparisons else []),
            metric_cell(suite, label, "cost/train_seconds").text,
        ]
        table.add_row(*map(escape, cells))
    table.caption = escape("\n".join(_caption(suite, list(comparisons.values()))))
    return table


def _columns(
    suite: Suite, by_label: Mapping[str, Comparison]
) -> Iterator[tuple[Column, Callable[[str], Cell]]]:
    """Each column that there is something for, with the cell of a row in it."""

    def accuracy(label: str) -> Cell:
        cell = metric_cell(suite, label, PRIMARY_METRIC)
        found = seed_spread(suite, label, PRIMARY_METRIC)
        above = label in by_label and by_label[label].verdict == "above"
        reach = None if found is None else half_width(found)
        if found is None or reach is None:
            return replace(cell, bold=above)
        by_seed = tuple(suite.values(label, PRIMARY_METRIC).values())
        low, high = found.mean - reach, found.mean + reach
        return replace(cell, low=low, high=high, by_seed=by_seed, bold=above)

    def p_value(of: Callable[[Comparison], float | None]) -> Callable[[str], Cell]:
        return lambda label: p_cell(of(by_label[label]) if label in by_label else None)

    found = {label: accuracy(label) for label in suite.finished_labels}
    drawn = " Ticks are seeds, the bar is the mean's 95 % t interval."
    has_spread = any(cell.low is not None for cell in found.values())
    control = found.get(suite.control or "", Cell()).value
    yield (
        Column(
            "average accuracy",
            METRICS[PRIMARY_METRIC].meaning + (drawn if has_spread else ""),
            "↑",
            strip="accuracy",
            reference=control if isinstance(control, float) else None,
        ),
        found.__getitem__,
    )
    comparisons = by_label.values()
    if any(c.difference is not None for c in comparisons):
        tested = any(c.low is not None for c in comparisons)
        interval = ", with its 95 % paired t interval" if tested else ""
        meaning = f"Mean over shared seeds of the difference in average accuracy{interval}."
        yield (
            Column(f"minus {suite.control}", meaning, strip="difference", reference=0.0),
            lambda label: difference_cell(by_label.get(label)),
        )
        if tested:
            meaning = "Two-sided paired t test against the control, corrected by Holm."
            yield Column("p", meaning), p_value(lambda c: c.p_holm)
        if any(c.p_wilcoxon is not None for c in comparisons):
            meaning = (
                "Two-sided Wilcoxon signed-rank test, corrected by Holm; no group rests on it."
            )
            yield Column("Wilcoxon p", meaning), p_value(lambda c: c.p_wilcoxon_holm)
    yield (
        Column("forgetting", METRICS["forgetting"].meaning, "↓"),
        lambda label: metric_cell(suite, label, "forgetting"),
    )
    seeds = {label: len(suite.finished(label)) for label in suite.finished_labels}
    if len(set(seeds.values())) > 1:
        yield Column("seeds"), lambda label: number_cell(seeds[label], "{}")


def _groups(
    suite: Suite, by_label: Mapping[str, Comparison]
) -> Iterator[tuple[str, str, list[str]]]:
    """Titles, notes and labels, which within a group are in the plan's order."""
    control = suite.control
    streamed = [label for label in suite.finished_labels if not suite.is_joint(label)]
    if any(label in by_label and by_label[label].p is not None for label in streamed):
        controls = [label for label in streamed if suite.counterpart(label, control or "") == label]
        verdicts = {
            label: by_label[label].verdict if label in by_label else "untested"
            for label in streamed
            if label not in controls
        }
        for verdict, title, note in (
            ("above", f"Above {control}", ""),
            ("control", "The control", "named in advance in the suite"),
            ("not told apart", f"Not told apart from {control}", "which does not mean equal"),
            ("below", f"Below {control}", ""),
            ("untested", "Not tested", ""),
        ):
            of_it = [label for label, found in verdicts.items() if found == verdict]
            yield title, note, controls if verdict == "control" else of_it
    else:
        yield "On the stream", "in the suite's order", streamed
    joint = [label for label in suite.finished_labels if suite.is_joint(label)]
    yield "All classes at once", "no stream: a bound, not a competitor", joint


def _caption(suite: Suite, comparisons: Sequence[Comparison]) -> Iterator[str]:
    seeds = {label: len(suite.finished(label)) for label in suite.finished_labels}
    if any(number > 1 for number in seeds.values()):
        yield "± standard deviation over seeds"
    if any(c.low is not None for c in comparisons):
        yield f"[95 % paired t interval]; * p < {ALPHA:.2g} after Holm's correction"
    if any(c.verdict == "not told apart" and c.excludes_zero for c in comparisons):
        yield "an interval is of its comparison alone: it may leave out 0 where there is no *"
    if seeds and max(seeds.values()) == 1:
        yield "one seed: no deviation and no interval; no difference here is established"
    else:
        yield from _over_fewer_seeds(seeds, comparisons)
    if seeds and suite.control is not None and not comparisons:
        yield without_control(suite, suite.control)
    if suite.parts and (differing := unplanned(suite, compare_settings(suite))):
        yield f"not with the same settings: {listed(differing, at_most=6)} {differ(differing)}"
    states: dict[str, list[str]] = {}
    for run in suite.unfinished_runs:
        states.setdefault(run.state, []).append(f"{run.label} seed {run.seed}")
    for state, runs in states.items():
        yield f"{state}: {listed(runs, at_most=6)}"
    if not suite.finished_runs:
        yield "no run has finished"


def _over_fewer_seeds(seeds: Mapping[str, int], comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Which differences are over one seed, or over fewer than their row's number of them."""
    rows: dict[int, list[str]] = {}
    for c in comparisons:
        if c.seeds and (len(c.seeds) == 1 or len(c.seeds) < seeds[c.label]):
            rows.setdefault(len(c.seeds), []).append(c.label)
    for shared, labels in sorted(rows.items()):
        over = f"difference over {count(shared, 'shared seed')}: {listed(labels, at_most=6)}"
        yield over if shared > 1 else f"{over}; no interval, and nothing established"
