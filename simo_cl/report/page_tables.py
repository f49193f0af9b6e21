"""Which tables the page has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from simo_cl.metrics.described import METRICS, READ_OUTS, Metric, of_family
from simo_cl.report.bootstrap import interquartile_mean
from simo_cl.report.cells import (
    Cell,
    Column,
    Group,
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
from simo_cl.report.settings import Values, lookup
from simo_cl.report.statistics import PRIMARY_METRIC, Comparison
from simo_cl.report.tables import metric_names
from simo_cl.results import Suite
from simo_cl.wording import duration

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


def cost_table(suite: Suite) -> PageTable | None:
    """Steps, images and time."""
    return _metric_table(suite, "cost", "What a run costs", of_family("cost"))


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
    metrics = of_family("geometry")
    return {name: metric for name, metric in metrics.items() if name not in _WITHOUT_A_COLUMN}


def origin_table(suite: Suite, comparisons: Sequence[Comparison]) -> PageTable | None:
    """What every difference from the control is made of."""
    found = {origin.total.label: origin for origin in origins(suite, comparisons)}
    totals = [origin.total for origin in found.values()]
    interval = ": one" if all(len(total.seeds) == 1 for total in totals) else ""
    if any(total.low is not None for total in totals):
        interval = ", 95 % paired interval, each for its cell alone"
    return _table(
        "origin",
        f"Where the differences from {suite.control} come from",
        found,
        [
            (Column("average accuracy"), lambda label: difference_cell(found[label].total)),
            (
                Column("learnt", "Accuracy on each experience right after training on it."),
                lambda label: difference_cell(found[label].learnt),
            ),
            (
                Column("kept", "What becomes of it by the end, averaged over all experiences."),
                lambda label: difference_cell(found[label].kept),
            ),
        ],
        "Mean over shared seeds" + interval,
    )


def estimates_table(suite: Suite, comparisons: Sequence[Comparison]) -> PageTable | None:
    """Average accuracy by statistics that suppose less than the t test; None without an interval:
    of few seeds they say little more."""
    above = {c.label: c.probability_above for c in comparisons if c.probability_above}
    middle = {
        label: interquartile_mean([list(values.values())])
        for label in suite.finished_labels
        if (values := suite.values(label, PRIMARY_METRIC))
    }
    if all(estimate.low is None for estimate in middle.values()):
        return None
    columns: list[tuple[Column, Callable[[str], Cell]]] = [
        (_MIDDLE, lambda label: estimate_cell(middle[label]))
    ]
    if above:
        columns.append((_above(suite.control), lambda label: estimate_cell(above.get(label))))
    return _table(
        "estimates",
        "Average accuracy by other statistics",
        middle,
        columns,
        "95 % bootstrap intervals over seeds",
    )


def data_sets_table(suite: Suite) -> PageTable | None:
    """The strategies that several suites on other data have in common."""
    ranking = rank_over_data_sets(suite)
    if ranking is None:
        return None
    standings = {standing.label: standing for standing in ranking.standings}
    columns: list[tuple[Column, Callable[[str], Cell]]] = [
        (_MIDDLE, lambda label: estimate_cell(standings[label].interquartile_mean)),
        (
            Column("mean rank", "Of the mean average accuracy in each data set; 1 is the best."),
            lambda label: number_cell(standings[label].mean_rank, "{:.2f}"),
        ),
    ]
    if ranking.control:
        columns.insert(
            1, (_above(ranking.control), lambda label: estimate_cell(standings[label].above))
        )
    # Not rows of the suite, whose names say which data they are of.
    rows = tuple(Row(label, tuple(of(label) for _, of in columns)) for label in standings)
    return PageTable(
        "data_sets",
        f"Average accuracy over {len(ranking.data_sets)} data sets",
        "strategy",
        tuple(column for column, _ in columns),
        (Group(rows),),
        "95 % bootstrap intervals over the seeds of each data set, where each has five",
    )


def optimum_table(suite: Suite) -> PageTable | None:
    """For each SimO row: the cosine its loss asks of two classes, beside what was measured."""
    best = {label: optimum_of(suite, label) for label in suite.finished_labels}

    def setting(name: str, label: str) -> Cell:
        config = suite.finished(label)[0].config
        return number_cell(lookup(config, f"settings.{name}"), "{:.4g}")

    def measured(name: str, label: str) -> Cell:
        return metric_cell(suite, label, f"embedding/orthogonality/{name}")

    asked = "Where SimO's term for two dissimilar unit vectors is smallest."
    between = "Between class means in the loss space"
    return _table(
        "optimum",
        "What SimO asks for, and what is reached",
        [label for label, cosine in best.items() if cosine is not None],
        [
            (Column("ε"), partial(setting, "epsilon")),
            (Column("leaning"), partial(setting, "leaning")),
            (Column("best cosine", asked), lambda label: number_cell(best[label])),
            (
                Column("mean cos, measured", f"{between}, with its sign."),
                lambda label: spread_cell(class_cosine(suite, label)),
            ),
            (Column("mean |cos|, measured", f"{between}."), partial(measured, "mean_abs_cos")),
            (Column("largest |cos|, measured", f"{between}."), partial(measured, "coherence")),
        ],
        spread_note(suite),
    )


def everything_table(suite: Suite) -> PageTable | None:
    """Every final metric: a row a metric, a column a strategy."""
    labels = suite.finished_labels
    rows = tuple(
        Row(name, tuple(metric_cell(suite, label, name) for label in labels))
        for name in metric_names(suite)
    )
    columns = tuple(map(Column, labels))
    table = PageTable(
        "everything", "Every final metric", "metric", columns, (Group(rows),), spread_note(suite)
    )
    return table if rows else None


def seeds_table(suite: Suite) -> PageTable:
    """Every planned run with its main numbers or what became of it."""
    metrics = [METRICS[name] for name in ("average_accuracy", "forgetting", "intransigence")]
    rows = []
    for run in suite.runs:
        seconds = run.seconds if run.state == "finished" else None
        cells = [Cell(str(run.seed), run.seed), Cell(run.state, run.state)]
        cells += [number_cell(run.final.get(metric.name)) for metric in metrics]
        cells.append(Cell() if seconds is None else Cell(duration(seconds), seconds))
        rows.append(Row(run.label, tuple(cells), run.label))
    meaning = "From start to end of the run, evaluation and interruptions included."
    wall_clock = Column("wall-clock", meaning)
    columns = (Column("seed"), Column("state"), *map(_column, metrics), wall_clock)
    return PageTable("seeds", "Every planned run", "strategy", columns, (Group(tuple(rows)),))


def settings_table(suite: Suite, key: str, caption: str, values: Values) -> PageTable | None:
    """A row a strategy, a column a setting."""

    def of(by_label: Mapping[str, str]) -> Callable[[str], Cell]:
        def cell(label: str) -> Cell:
            text = by_label.get(label, "")
            return Cell(text, _sortable(text) if text else None)

        return cell

    columns = [(Column(setting), of(by_label)) for setting, by_label in values.items()]
    return _table(key, caption, suite.finished_labels, columns)


def present(tables: Iterable[PageTable | None]) -> list[PageTable]:
    """The tables that there are numbers for."""
    return [table for table in tables if table is not None]


def _metric_table(
    suite: Suite, key: str, caption: str, metrics: Mapping[str, Metric]
) -> PageTable | None:
    """A row a strategy, a column a metric that at least one strategy has."""
    cells = {
        (label, name): metric_cell(suite, label, name)
        for label in suite.finished_labels
        for name in metrics
    }
    known = [at for at, cell in cells.items() if cell.text]

    def of(name: str) -> Callable[[str], Cell]:
        return lambda label: cells[label, name]

    shown = {name for _, name in known}
    columns = [(_column(metrics[name]), of(name)) for name in metrics if name in shown]
    labels = dict.fromkeys(label for label, _ in known)
    return _table(key, caption, labels, columns, spread_note(suite))


def _table(
    key: str,
    caption: str,
    labels: Iterable[str],
    columns: Sequence[tuple[Column, Callable[[str], Cell]]],
    note: str = "",
) -> PageTable | None:
    """A row a strategy, with the cell that each column has for it; None without rows or columns."""
    rows = tuple(Row(label, tuple(of(label) for _, of in columns), label) for label in labels)
    if not rows or not columns:
        return None
    headings = tuple(column for column, _ in columns)
    return PageTable(key, caption, "strategy", headings, (Group(rows),), note)


def _column(metric: Metric) -> Column:
    return Column(metric.heading, metric.meaning, metric.arrow)


def _sortable(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
