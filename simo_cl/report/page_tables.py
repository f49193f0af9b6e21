"""Which tables the page has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from simo_cl.metrics.described import METRICS, READ_OUTS, Metric, of_family
from simo_cl.report.bootstrap import Estimate, interquartile_mean
from simo_cl.report.cells import (
    Cell,
    Column,
    PageTable,
    Row,
    difference_cell,
    estimate_cell,
    metric_cell,
    number_cell,
    spread_cell,
    spread_note,
)
from simo_cl.report.data_sets import rank_over_data_sets
from simo_cl.report.optimum import class_cosine, optimum_of
from simo_cl.report.origin import origins
from simo_cl.report.settings import Difference, lookup
from simo_cl.report.statistics import PRIMARY_METRIC, Comparison
from simo_cl.report.tables import metric_names, show_seconds
from simo_cl.results import Suite

_MIDDLE = Column("interquartile mean", "Mean of the middle half of the runs.", "↑")


def _above(control: str | None) -> Column:
    return Column(
        "probability of improvement",
        f"That a run ends above one of {control}, whatever their seeds; a tie counts half.",
        "↑",
    )


# Told by others that have one; they are in "Every final metric".
_WITHOUT_A_COLUMN = (
    "neighbourhood/d_within",
    "neighbourhood/d_between",
    "neighbourhood/subspace_overlap",
    "neighbourhood/subspace_overlap_chance",
    "collapse/effective_rank_share",
    "collapse/participation_ratio_share",
    "simo/similarity_within",
    "simo/similarity_between",
)


def continual_table(suite: Suite) -> PageTable | None:
    """Accuracy, forgetting and transfer."""
    return _metric_table(suite, "continual", "Continual-learning metrics", of_family("continual"))


def readouts_table(suite: Suite) -> PageTable | None:
    """Final average accuracy by read-out."""
    return _metric_table(suite, "readouts", "Average accuracy by read-out", read_outs())


def geometry_table(suite: Suite, space: str, name: str) -> PageTable | None:
    """Final geometry in one space."""
    metrics = {f"{space}/{key}": metric for key, metric in geometry().items()}
    return _metric_table(suite, f"geometry_{space}", f"Geometry: {name}", metrics)


def read_outs() -> dict[str, Metric]:
    """Average accuracy by read-out, the strategy's own first."""
    accuracy = METRICS["average_accuracy"]
    own = "The strategy's own classifier: what every other table reports."
    return {"average_accuracy": replace(accuracy, heading="own, reported", meaning=own)} | {
        f"{name}/average_accuracy": replace(
            accuracy, heading=read_out.heading, meaning=read_out.meaning
        )
        for name, read_out in READ_OUTS.items()
    }


def geometry() -> dict[str, Metric]:
    """The geometry that has a column of its own."""
    return {
        name: metric
        for name, metric in of_family("geometry").items()
        if name not in _WITHOUT_A_COLUMN
    }


def origin_table(suite: Suite, comparisons: Sequence[Comparison]) -> PageTable | None:
    """What every difference from the control is made of."""
    found = origins(suite, comparisons)
    if not found:
        return None
    rows = tuple(
        Row(
            origin.total.label,
            tuple(map(difference_cell, (origin.total, origin.learnt, origin.kept))),
            origin.total.label,
        )
        for origin in found
    )
    columns = (
        Column("average accuracy"),
        Column("learnt", "Accuracy on each experience right after training on it."),
        Column("kept", "What becomes of it by the end, averaged over all experiences."),
    )
    interval = any(origin.total.low is not None for origin in found)
    return PageTable(
        "origin",
        f"Where the differences from {suite.control} come from",
        "strategy",
        columns,
        rows,
        "Mean over shared seeds"
        + (", 95 % paired interval, each for its cell alone" if interval else ": one"),
    )


def estimates_table(suite: Suite, comparisons: Sequence[Comparison]) -> PageTable | None:
    """Average accuracy by statistics that suppose less than the t test; None without an interval:
    of few seeds they say little more."""
    above = {
        c.label: Estimate(c.probability_above, c.probability_above_low, c.probability_above_high)
        for c in comparisons
        if c.probability_above is not None
    }
    estimates = {
        label: (interquartile_mean([list(values.values())]), above.get(label))
        for label in suite.finished_labels
        if (values := suite.values(label, PRIMARY_METRIC))
    }
    if all(middle.low is None for middle, _ in estimates.values()):
        return None
    columns = [_MIDDLE, *([_above(suite.control)] if above else [])]
    rows = (
        Row(label, tuple(map(estimate_cell, found[: len(columns)])), label)
        for label, found in estimates.items()
    )
    return PageTable(
        "estimates",
        "Average accuracy by other statistics",
        "strategy",
        tuple(columns),
        tuple(rows),
        "95 % bootstrap intervals over seeds",
    )


def data_sets_table(suite: Suite) -> PageTable | None:
    """The strategies that several suites on other data have in common."""
    ranking = rank_over_data_sets(suite)
    if ranking is None:
        return None
    rows = (
        Row(
            standing.label,
            (
                estimate_cell(standing.interquartile_mean),
                *([estimate_cell(standing.above)] if ranking.control else []),
                number_cell(standing.mean_rank, "{:.2f}"),
            ),
        )
        for standing in ranking.standings
    )
    columns = (
        _MIDDLE,
        *([_above(ranking.control)] if ranking.control else []),
        Column("mean rank", "Of the mean average accuracy in each data set; 1 is the best."),
    )
    return PageTable(
        "data_sets",
        f"Average accuracy over {len(ranking.data_sets)} data sets",
        "strategy",
        columns,
        tuple(rows),
        "95 % bootstrap intervals over the seeds of each data set",
    )


def cost_table(suite: Suite) -> PageTable | None:
    """Steps, images and time."""
    return _metric_table(suite, "cost", "What a run costs", of_family("cost"))


def optimum_table(suite: Suite) -> PageTable | None:
    """For each SimO row: the cosine its loss asks of two classes, beside what was measured."""
    rows = []
    for label in suite.finished_labels:
        target = optimum_of(suite, label)
        if target is None:
            continue
        config = suite.finished(label)[0].config
        settings = [
            number_cell(lookup(config, f"settings.{key}"), "{:.4g}")
            for key in ("epsilon", "leaning")
        ]
        measured = [spread_cell(class_cosine(suite, label))]
        measured += [
            metric_cell(suite, label, f"embedding/orthogonality/{name}")
            for name in ("mean_abs_cos", "coherence")
        ]
        rows.append(Row(label, (*settings, number_cell(target), *measured), label))
    if not rows:
        return None
    columns = (
        Column("ε"),
        Column("leaning"),
        Column("best cosine", "Where SimO's term for two dissimilar unit vectors is smallest."),
        Column("mean cos, measured", "Between class means in the loss space, with its sign."),
        Column("mean |cos|, measured", "Between class means in the loss space."),
        Column("largest |cos|, measured", "Between class means in the loss space."),
    )
    return PageTable(
        "optimum",
        "What SimO asks for, and what is reached",
        "strategy",
        columns,
        tuple(rows),
        spread_note(suite),
    )


def everything_table(suite: Suite) -> PageTable | None:
    """Every final metric: a row a metric, a column a strategy."""
    names = metric_names(suite)
    if not names:
        return None
    rows = tuple(
        Row(name, tuple(metric_cell(suite, label, name) for label in suite.finished_labels))
        for name in names
    )
    columns = tuple(Column(label) for label in suite.finished_labels)
    return PageTable(
        "everything", "Every final metric", "metric", columns, rows, spread_note(suite)
    )


def seeds_table(suite: Suite) -> PageTable | None:
    """Every planned run with its main numbers or what became of it."""
    names = ("average_accuracy", "forgetting", "intransigence")
    columns = [Column("seed"), Column("state")]
    columns += [_column(METRICS[name]) for name in names]
    columns.append(Column("wall-clock", "From start to end of the run, evaluation included."))
    rows = []
    for run in suite.runs:
        cells = [Cell(str(run.seed), run.seed), Cell(run.state, run.state)]
        cells += [number_cell(run.final.get(name)) for name in names]
        seconds = run.seconds if run.state == "finished" else None
        cells.append(Cell() if seconds is None else Cell(show_seconds(seconds), seconds))
        rows.append(Row(run.label, tuple(cells), run.label))
    return PageTable("seeds", "Every planned run", "strategy", tuple(columns), tuple(rows))


def settings_table(
    suite: Suite, key: str, caption: str, differences: Sequence[Difference]
) -> PageTable | None:
    """A row a strategy, a column a setting."""
    if not differences:
        return None
    rows = []
    for label in suite.finished_labels:
        texts = [difference.values.get(label, "") for difference in differences]
        rows.append(Row(label, tuple(Cell(text, _sortable(text)) for text in texts), label))
    columns = tuple(Column(difference.key) for difference in differences)
    return PageTable(key, caption, "strategy", columns, tuple(rows))


def _metric_table(
    suite: Suite, key: str, caption: str, metrics: Mapping[str, Metric]
) -> PageTable | None:
    """A row a strategy, a column a metric that at least one strategy has."""
    cells = {
        label: {name: metric_cell(suite, label, name) for name in metrics}
        for label in suite.finished_labels
    }
    shown = [name for name in metrics if any(row[name].text for row in cells.values())]
    rows = tuple(
        Row(label, tuple(row[name] for name in shown), label)
        for label, row in cells.items()
        if any(row[name].text for name in shown)
    )
    columns = tuple(_column(metrics[name]) for name in shown)
    if not shown:
        return None
    return PageTable(key, caption, "strategy", columns, rows, spread_note(suite))


def _column(metric: Metric) -> Column:
    return Column(metric.heading, metric.meaning, metric.arrow)


def _sortable(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def present(tables: Iterable[PageTable | None]) -> list[PageTable]:
    """The tables that there are numbers for."""
    return [table for table in tables if table is not None]
