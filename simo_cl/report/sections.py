"""The middle of the page: its sections, each with the figures and tables that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simo_cl.report.cells import PageTable
from simo_cl.report.figures import SPACES, Figure
from simo_cl.report.page_tables import (
    continual_table,
    cost_table,
    data_sets_table,
    estimates_table,
    geometry_table,
    optimum_table,
    origin_table,
    present,
    readouts_table,
)
from simo_cl.report.statistics import Comparison
from simo_cl.results import Suite


@dataclass(frozen=True)
class Space:
    """What the page shows of one space of representations; one space is shown at a time."""

    key: str
    name: str
    figures: tuple[Figure, ...]
    tables: tuple[PageTable, ...]


@dataclass(frozen=True)
class Section:
    """Figures, then tables, then spaces, under one heading; `link` stands in the navigation."""

    key: str
    link: str
    title: str
    lead: str
    figures: tuple[Figure, ...]
    tables: tuple[PageTable, ...]
    spaces: tuple[Space, ...]


# In the page's order: where a figure's own section stands, and what it is called.
_HEADINGS = {
    "statistics": (
        "Statistics",
        "The same result by other statistics",
        "They suppose less of the runs than the t test does; no verdict rests on them.",
    ),
    "stream": (
        "Over the stream",
        "Over the stream",
        "A difference in average accuracy is the sum of what is learnt of each experience and what "
        "is kept of it.",
    ),
    "readouts": (
        "Read-outs",
        "The same features, read out differently",
        "A gap between a strategy's own classifier and the oracle read-outs is lost in the "
        "classifier, not in the features.",
    ),
    "matrices": ("Matrices", "What is remembered, and what it is taken for", ""),
    "geometry": ("Geometry", "Geometry of the representations", ""),
    "embeddings": ("Embeddings", "The embeddings themselves", ""),
    "loss": (
        "Loss",
        "What the SimO loss asks for",
        "Without leaning, SimO asks dissimilar vectors for a cosine of 0; leaning moves that "
        "optimum towards similar ones.",
    ),
    "sweeps": ("Sweeps", "One setting moved, the others held", ""),
    "cost": ("Cost", "Cost, and what it buys", ""),
}


def make_sections(
    suite: Suite, comparisons: Sequence[Comparison], figures: Sequence[Figure]
) -> list[Section]:
    """Every section that there is something to show in; the figures of "result" are elsewhere."""
    tables = {
        "statistics": present([estimates_table(suite, comparisons), data_sets_table(suite)]),
        "stream": present([continual_table(suite), origin_table(suite, comparisons)]),
        "readouts": present([readouts_table(suite)]),
        "loss": present([optimum_table(suite)]),
        "cost": present([cost_table(suite)]),
    }
    sections = []
    for key, (link, title, lead) in _HEADINGS.items():
        own = [figure for figure in figures if figure.section == key]
        section = Section(
            key=key,
            link=link,
            title=title,
            lead=lead,
            figures=tuple(figure for figure in own if not figure.space),
            tables=tuple(tables.get(key, ())),
            spaces=tuple(_spaces(suite, own, with_tables=key == "geometry")),
        )
        if section.figures or section.tables or section.spaces:
            sections.append(section)
    return sections


def _spaces(suite: Suite, figures: Sequence[Figure], with_tables: bool) -> list[Space]:
    spaces = []
    for key, name in SPACES.items():
        own = tuple(figure for figure in figures if figure.space == key)
        tables = present([geometry_table(suite, key, name)]) if with_tables else []
        if own or tables:
            spaces.append(Space(key, name, own, tuple(tables)))
    return spaces
