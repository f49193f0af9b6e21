"""What the loss benchmark shows: tables and a figure."""

from __future__ import annotations

import math
import statistics
from typing import Any

from _common import COLOURS, about, markdown

Row = dict[str, Any]


def page(report: dict[str, Any]) -> str:
    """The report, as loss.json has it, as Markdown."""
    rows = report["rows"]
    parts = [
        "# Speed of the loss, forward and backward",
        about(report["environment"]),
        *(f"`{command}`" for command in dict.fromkeys(report["commands"].values())),
    ]
    if rows:
        heading = f"## Times SimO's time, d = {widest(rows)}"
        parts += ["![](loss.svg)", heading, ratios(rows)]
    if report.get("busy"):
        parts += ["## Beside processes that hold the cores", busy(report["busy"])]
    if report.get("growth"):
        fits = [
            [fit["contestant"], str(fit["d"]), f"{fit['time']:.2f}", f"{fit['pairs']:.2f}"]
            for fit in report["growth"]
        ]
        fitted = markdown(["", "d", "time ~ N^", "pairs ~ N^"], fits)
        parts += ["## Growth from N = 1,024 on", fitted]
    for d, n in sorted({(row["d"], row["n"]) for row in rows}, reverse=True):
        own = [row for row in rows if (row["d"], row["n"]) == (d, n)]
        shape = f"{own[0]['classes']} classes of {own[0]['samples']}"
        parts += [f"## N = {n:,} ({shape}), d = {d}", table(own)]
        if d == widest(rows):
            parts += ["Where SimO pairwise spends its time:", operators(own)]
    return "\n\n".join(parts) + "\n"


def widest(rows: list[Row]) -> int:
    return max(row["d"] for row in rows)


def ratios(rows: list[Row]) -> str:
    """Of the widest rows, a line for each number of rows."""
    rows = [row for row in rows if row["d"] == widest(rows)]
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    times = {(row["n"], row["contestant"]): row.get("times_simo") for row in rows}

    def cell(n: int, name: str) -> str:
        return f"{times[n, name]:.2f}" if times[n, name] else ""

    sizes = sorted({row["n"] for row in rows})
    return markdown(["N", *names], [[f"{n:,}", *(cell(n, name) for name in names)] for n in sizes])


def busy(rows: list[Row]) -> str:
    names = list(rows[0]["ms"])
    header = ["N", "d", "processes", *(f"{name}, ms" for name in names), "times SimO", "steps"]
    return markdown(
        header,
        [
            [
                f"{row['n']:,}",
                str(row["d"]),
                str(row["processes"]),
                *(f"{row['ms'][name]:.3g}" for name in names),
                f"{row['times_simo']:.1f}",
                str(row["steps"][names[0]]),
            ]
            for row in rows
        ],
    )


def table(rows: list[Row]) -> str:
    header = ["", "ms", "times SimO", "cold ms", "times SimO", "pairs", "times SimO per pair"]
    return markdown([*header, "peak MB", "times SimO's memory"], map(cells, rows))


def cells(row: Row) -> list[str]:
    if "skipped" in row:
        return [row["contestant"], row["skipped"], "", "", "", f"{row['pairs']:,}", "", "", ""]
    return [
        row["contestant"],
        f"{row['ms']:.3g}",
        f"{row['times_simo']:.2f}",
        f"{row['cold_ms']:.3g}",
        f"{row['cold_times_simo']:.2f}",
        f"{row['pairs']:,}",
        f"{row['per_pair']:.2f}",
        f"{row['peak_mb']:.3g}",
        f"{row['memory_times_simo']:.1f}",
    ]


def operators(rows: list[Row], most: int = 10) -> str:
    spent = next(row["operators"] for row in rows if "operators" in row)
    total = sum(operator["ms"] for operator in spent)
    return markdown(
        ["operator", "calls", "ms", "share"],
        [
            [f"`{o['operator']}`", f"{o['calls']:.0f}", f"{o['ms']:.3f}", f"{o['ms'] / total:.0%}"]
            for o in spent[:most]
        ],
    )


def draw(plt: Any, rows: list[Row]) -> Any:
    d = widest(rows)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = dict.fromkeys(row["contestant"] for row in rows)
    for name, colour in zip(names, COLOURS, strict=True):
        own = [r for r in rows if r["contestant"] == name and r["d"] == d and "ms" in r]
        if not own:
            continue
        for axes, key in zip(panels, ("ms", "peak_mb"), strict=True):
            points = [(row["n"], row[key]) for row in own if row[key] > 0]
            axes.loglog(*zip(*points, strict=True), "o-", ms=3, color=colour, label=name)
    for axes, label in zip(panels, ("ms, forward and backward", "peak MB"), strict=True):
        axes.set(xlabel=f"N (d = {d})", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def growth(rows: list[Row]) -> list[dict[str, Any]]:
    """The exponent of time ~ N^p from N = 1,024 on, and of the pairs that SimO compares."""
    series: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for row in rows:
        if row["n"] >= 1024 and "ms" in row:
            point = math.log(row["n"]), math.log(row["ms"]), math.log(row["pairs"])
            series.setdefault((row["contestant"], row["d"]), []).append(point)
    fits = []
    for (name, d), points in series.items():
        if len(points) >= 2:
            ns, ms, pairs = zip(*points, strict=True)
            slope = statistics.linear_regression
            fits.append(
                {
                    "contestant": name,
                    "d": d,
                    "time": slope(ns, ms).slope,
                    "pairs": slope(ns, pairs).slope,
                }
            )
    return fits
