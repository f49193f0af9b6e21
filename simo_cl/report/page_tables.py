"""The tables of the page, as rows of cells that carry a text to read and a value to sort by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simo_cl.report import explain
from simo_cl.report.explain import Explanation
from simo_cl.report.load import Suite
from simo_cl.report.optimum import best_cosine
from simo_cl.report.settings import Difference, lookup
from simo_cl.report.statistics import seed_spread
from simo_cl.report.tables import metric_names, show_seconds


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and which way is better."""

    heading: str
    meaning: str = ""
    arrow: str = ""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it sorts by and copies as, and its deviation over seeds."""

    text: str = ""
    value: float | str | None = None
    deviation: float | None = None
    minor: str = ""


@dataclass(frozen=True)
class Row:
    """A strategy's row if `label` is set; `head` is its first cell."""

    head: str
    cells: tuple[Cell, ...]
    label: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with the heading of its first column."""

    key: str
    caption: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def continual_table(suite: Suite) -> PageTable | None:
    """Accuracy, forgetting and transfer."""
    return _metric_table(suite, "continual", "Continual-learning metrics", explain.CONTINUAL)


def readouts_table(suite: Suite) -> PageTable | None:
    """Final average accuracy by read-out."""
    return _metric_table(suite, "readouts", "Average accuracy by read-out", explain.READOUTS)


def geometry_table(suite: Suite, space: str, name: str) -> PageTable | None:
    """Final geometry in one space."""
    metrics = {f"{space}/{key}": meaning for key, meaning in explain.GEOMETRY.items()}
    return _metric_table(suite, f"geometry_{space}", f"Geometry: {name}", metrics)


def cost_table(suite: Suite) -> PageTable | None:
    """Steps, images and time."""
    return _metric_table(suite, "cost", "What a run costs", explain.COST)


def optimum_table(suite: Suite) -> PageTable | None:
    """For each SimO row: the cosine its loss asks of two classes, beside what was measured."""
    rows = []
    for label in suite.finished_labels:
        config = suite.finished(label)[0].config
        epsilon, leaning = (lookup(config, f"settings.{key}") for key in ("epsilon", "leaning"))
        if not isinstance(epsilon, (int, float)):
            continue
        leaning = leaning if isinstance(leaning, (int, float)) else 0.0
        target = best_cosine(float(epsilon), float(leaning))
        measured = [
            _metric_cell(suite, label, f"embedding/orthogonality/{name}")
            for name in ("mean_abs_cos", "coherence")
        ]
        settings = [Cell(f"{value:.4g}", float(value)) for value in (epsilon, leaning)]
        rows.append(Row(label, (*settings, Cell(f"{target:.3f}", target), *measured), label))
    if not rows:
        return None
    columns = (
        Column("ε"),
        Column("leaning"),
        Column("best cosine", "Where SimO's term for two dissimilar unit vectors is smallest."),
        Column("mean |cos|, measured", "Between class means in the loss space."),
        Column("largest |cos|, measured", "Between class means in the loss space."),
    )
    return PageTable(
        "optimum", "What SimO asks for, and what is reached", "strategy", columns, tuple(rows)
    )


def everything_table(suite: Suite) -> PageTable | None:
    """Every final metric: a row a metric, a column a strategy."""
    names = metric_names(suite)
    if not names:
        return None
    rows = tuple(
        Row(name, tuple(_metric_cell(suite, label, name) for label in suite.finished_labels))
        for name in names
    )
    columns = tuple(Column(label) for label in suite.finished_labels)
    return PageTable("everything", "Every final metric", "metric", columns, rows)


def seeds_table(suite: Suite) -> PageTable | None:
    """Every planned run with its main numbers or what became of it."""
    names = ("average_accuracy", "forgetting", "intransigence")
    columns = [Column("seed"), Column("state")]
    columns += [_column(explain.CONTINUAL[name]) for name in names]
    columns.append(Column("wall-clock", "From start to end of the run, evaluation included."))
    rows = []
    for run in suite.runs:
        cells = [Cell(str(run.seed), run.seed), Cell(run.state, run.state)]
        cells += [_number_cell(run.final.get(name)) for name in names]
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


def show_number(value: float) -> str:
    """Three decimals below ten, fewer above, with a true minus."""
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def _metric_table(
    suite: Suite, key: str, caption: str, metrics: Mapping[str, Explanation]
) -> PageTable | None:
    """A row a strategy, a column a metric that at least one strategy has."""
    cells = {
        label: {name: _metric_cell(suite, label, name) for name in metrics}
        for label in suite.finished_labels
    }
    shown = [name for name in metrics if any(row[name].text for row in cells.values())]
    rows = tuple(
        Row(label, tuple(row[name] for name in shown), label)
        for label, row in cells.items()
        if any(row[name].text for name in shown)
    )
    columns = tuple(_column(metrics[name]) for name in shown)
    return PageTable(key, caption, "strategy", columns, rows) if shown else None


def _column(explanation: Explanation) -> Column:
    return Column(explanation.heading, explanation.meaning, explanation.arrow)


def _metric_cell(suite: Suite, label: str, name: str) -> Cell:
    over_seeds = seed_spread(suite, label, name)
    if over_seeds is None:
        return Cell()
    counted = name in ("cost/steps", "cost/images")
    show = show_seconds if name.endswith("_seconds") else _show_count if counted else show_number
    minor = "" if over_seeds.std is None else f"± {show(over_seeds.std)}"
    if counted and over_seeds.std == 0:
        minor = ""
    return Cell(show(over_seeds.mean), over_seeds.mean, over_seeds.std, minor)


def _show_count(value: float) -> str:
    return f"{value:,.0f}"


def _number_cell(value: float | None) -> Cell:
    return Cell() if value is None else Cell(show_number(value), value)


def _sortable(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def present(tables: Iterable[PageTable | None]) -> list[PageTable]:
    """The tables that there are numbers for."""
    return [table for table in tables if table is not None]
