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
class Part:
    """Figures, then tables."""

    figures: list[Figure]
    tables: list[PageTable]

    def __bool__(self) -> bool:
        return bool(self.figures or self.tables)


@dataclass(frozen=True)
class Section(Part):
    """What stands under one heading, then its spaces of representations by their keys, of which one
    is shown at a time. `link` stands in the navigation."""

    key: str
    link: str
    title: str
    lead: str
    spaces: dict[str, Part]


# In the page's order: what a section is called in the navigation and on the page.
_HEADINGS = {
    "statistics": (
        "Statistics",
        "The same result by other statistics",
        "The interquartile mean is that of the middle half of the runs; the probability of "
        "improvement is that of a run to end above one of the control's. They suppose less of the "
        "runs than the t test does, and no verdict rests on them.",
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
    tables: dict[tuple[str, str], list[PageTable | None]] = {
        ("statistics", ""): [data_sets_table(suite), estimates_table(suite, comparisons)],
        ("stream", ""): [continual_table(suite), origin_table(suite, comparisons)],
        ("readouts", ""): [readouts_table(suite)],
        ("loss", ""): [optimum_table(suite)],
        ("cost", ""): [cost_table(suite)],
    }
    for space, name in SPACES.items():
        tables["geometry", space] = [geometry_table(suite, space, name)]

    def part(key: str, space: str) -> Part:
        drawn = [figure for figure in figures if (figure.section, figure.space) == (key, space)]
        return Part(drawn, present(tables.get((key, space), [])))

    sections = []
    for key, heading in _HEADINGS.items():
        own = part(key, "")
        spaces = {space: found for space in SPACES if (found := part(key, space))}
        if own or spaces:
            sections.append(Section(own.figures, own.tables, key, *heading, spaces))
    return sections
