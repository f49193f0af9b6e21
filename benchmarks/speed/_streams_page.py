"""What the stream benchmark shows: tables and a figure."""

from __future__ import annotations

import statistics
from textwrap import fill
from typing import Any

from _bounds import Row, bounds_table
from _common import COLOURS, about, markdown
from _scene import BARE
from _streams_bounds import BOUNDS

_COLUMNS = 3
_TITLE: dict[str, Any] = {"fontsize": 8, "loc": "left"}
_OURS, _OURS_SPLIT, _BARE, _STOCK, _STOCK_ON_OURS = COLOURS[:5]


def page(report: dict[str, Any], headings: dict[str, str]) -> str:
    """The report as Markdown.

    Args:
        report: as streams.json has it.
        headings: of the sections.
    """
    commands = dict.fromkeys(report["commands"].values())
    parts = [
        "# Speed of streams and replay",
        about(report["environment"]),
        *(f"`{command}`" for command in commands),
        bounds_table(
            BOUNDS,
            [*report["rows"], *course_rows(report), *evaluation_rows(report)],
            "slim ResNet-18 unless said",
        ),
        "![](streams.svg)",
    ]
    section = ""
    for rows in comparisons(report["rows"]):
        if rows[0]["section"] != section:
            section = rows[0]["section"]
            parts.append(f"## {headings[section]}")
        parts += [f"### {title(rows[0])}", comparison_table(rows)]
    for name, table in (("course", course_table), ("evaluation", evaluation_table)):
        if name in report:
            parts += [f"## {headings[name]}", table(report)]
    return "\n\n".join(parts) + "\n"


def comparisons(rows: list[Row]) -> list[list[Row]]:
    """The rows of each comparison."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["section"], title(row)), []).append(row)
    return list(groups.values())


def title(row: Row) -> str:
    return f"{row['network']}, {row['precision']}, {row['augment'] or 'no augmentation'}"


def comparison_table(rows: list[Row]) -> str:
    return markdown(
        ["", "ms an iteration", "iterations a second", "times stock", "of the bare loop"],
        [
            [
                row["contestant"],
                f"{row['ms']:.3g}",
                f"{1e3 / row['ms']:.3g}",
                f"{row['times_stock']:.2f}" if "times_stock" in row else "",
                f"{row['of_bare']:.0%}" if "of_bare" in row else "",
            ]
            for row in rows
        ],
    )


def course_rows(report: dict[str, Any]) -> list[Row]:
    """Milliseconds an iteration in the first and in the last fifth of the stream."""
    rows = []
    for name, ms in report.get("course", {"ms": {}})["ms"].items():
        fifth = max(1, len(ms) // 5)
        first, last = statistics.median(ms[:fifth]), statistics.median(ms[-fifth:])
        rows.append(
            {
                "section": "course",
                "precision": "float32",
                "contestant": name,
                "first": first,
                "last": last,
                "last_over_first": last / first,
            }
        )
    return rows


def course_table(report: dict[str, Any]) -> str:
    return markdown(
        ["", "ms, first fifth", "ms, last fifth", "last over first"],
        [
            [
                row["contestant"],
                f"{row['first']:.3g}",
                f"{row['last']:.3g}",
                f"{row['last_over_first']:.2f}",
            ]
            for row in course_rows(report)
        ],
    )


def evaluation_rows(report: dict[str, Any]) -> list[Row]:
    """Seconds of a whole run, and their share of its training."""
    seconds = report.get("evaluation", {"seconds": {}})["seconds"]
    return [
        {
            "section": "evaluation",
            "precision": "the suite's precision",
            "contestant": name,
            "seconds": value,
            "of_training": value / seconds["training"],
        }
        for name, value in seconds.items()
    ]


def evaluation_table(report: dict[str, Any]) -> str:
    return markdown(
        [report["evaluation"]["suite"], "seconds", "of the training time"],
        [
            [row["contestant"], f"{row['seconds']:.3g}", f"{row['of_training']:.1%}"]
            for row in evaluation_rows(report)
        ],
    )


def draw(plt: Any, report: dict[str, Any]) -> Any:
    """A panel of bars for each comparison, and one of lines for the course of a stream."""
    groups = comparisons(report["rows"])
    count = len(groups) + ("course" in report)
    lines = max(1, -(-count // _COLUMNS))
    figure, axes = plt.subplots(
        lines, _COLUMNS, figsize=(15, 3.2 * lines), layout="constrained", squeeze=False
    )
    for panel in axes.flat[count:]:
        panel.set_axis_off()
    for panel, rows in zip(axes.flat, groups, strict=False):
        _bars(panel, rows)
    if "course" in report:
        _course(axes.flat[count - 1], report["course"])
    return figure


def _bars(panel: Any, rows: list[Row]) -> None:
    names = [fill(row["contestant"], 30) for row in rows]
    colours = [_colour(row["contestant"]) for row in rows]
    bars = panel.barh(names, [row["ms"] for row in rows], color=colours)
    panel.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
    panel.invert_yaxis()
    first = rows[0]
    augment = first["augment"] or "no augmentation"
    panel.set_title(
        f"{first['section']}: {first['network']}, {first['precision']}\n{augment}", **_TITLE
    )
    panel.set_xlabel("ms an iteration", fontsize=8)
    panel.margins(x=0.15)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def _course(panel: Any, course: dict[str, Any]) -> None:
    colours = [_STOCK, _STOCK_ON_OURS, _OURS_SPLIT, _OURS]
    for colour, (name, ms) in zip(colours, course["ms"].items(), strict=True):
        batches = [course["window"] * (k + 1) for k in range(len(ms))]
        panel.plot(batches, ms, color=colour, linewidth=1, label=name)
    panel.set_yscale("log")
    panel.set_xlabel("batches", fontsize=8)
    panel.set_ylabel("ms an iteration", fontsize=8)
    panel.set_title("course of the stream: empty network\ncrop + flip", **_TITLE)
    beside = panel.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    beside.set_in_layout(False)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def _colour(contestant: str) -> str:
    if contestant.startswith(BARE):
        return _BARE
    if contestant.endswith("our data") or contestant.startswith("ours"):
        return _OURS
    return _STOCK
