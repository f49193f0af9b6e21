"""What the harness benchmark shows: tables, and the bounds that they fall under."""

from __future__ import annotations

from typing import Any

from _bounds import Bound, Row, bounds_table
from _common import about, markdown

HEADINGS = {
    "jobs": "`simo-cl run benchmarks/quickstart.yaml`, one thread a run",
    "overhead": "Runs that do nothing but begin and finish their folder",
    "checkpoints": (
        "Checkpoints in runs of split_cifar10 with a tenth of their epochs, and their share of a "
        "whole run, whose training is extrapolated"
    ),
}


def _two_jobs(row: Row) -> bool:
    return row["section"] == "jobs" and row["jobs"] == 2 and "of_one_job" in row


BOUNDS = (
    Bound(
        "quick start with two jobs: of the time with one",
        "of_one_job",
        0.6,
        _two_jobs,
        "{:.2f}",
        at_least=False,
    ),
    Bound(
        "its runs alone: of their time with one",
        "runs_of_one_job",
        None,
        _two_jobs,
        "{:.2f}",
        at_least=False,
    ),
    Bound(
        "scheduling of a run that does nothing",
        "ms_a_run",
        50,
        lambda row: row["section"] == "overhead",
        "{:.1f} ms",
        at_least=False,
    ),
    Bound(
        "checkpoints: of a whole run's time",
        "share_of_whole_run",
        0.02,
        lambda row: row["section"] == "checkpoints",
        "{:.2%}",
        at_least=False,
    ),
)


def page(report: dict[str, Any]) -> str:
    """The report, as harness.json has it, as Markdown."""
    rows = compared(report["rows"])
    parts = [
        "# Speed of the harness",
        about(report["environment"]),
        *(f"`{command}`" for command in dict.fromkeys(report["commands"].values())),
        bounds_table(BOUNDS, rows),
    ]
    for name, heading in HEADINGS.items():
        own = [row for row in rows if row["section"] == name]
        if own:
            parts += [f"## {heading}", table(own)]
    return "\n\n".join(parts) + "\n"


def compared(rows: list[Row]) -> list[Row]:
    """With the time of each number of jobs over the time of one, where that has been measured."""
    one = next((row for row in rows if row["section"] == "jobs" and row["jobs"] == 1), None)
    if one is None:
        return rows
    return [
        row
        | {
            "of_one_job": row["seconds"] / one["seconds"],
            "runs_of_one_job": row["seconds_of_runs"] / one["seconds_of_runs"],
        }
        if row["section"] == "jobs"
        else row
        for row in rows
    ]


def table(rows: list[Row]) -> str:
    """Rows of one section."""
    keys = [key for key in rows[0] if key != "section"]
    cells = [[_cell(key, row[key]) for key in keys] for row in rows]
    return markdown([key.replace("_", " ") for key in keys], cells)


def _cell(key: str, value: Any) -> str:
    if key.startswith("share"):
        return f"{value:.2%}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
