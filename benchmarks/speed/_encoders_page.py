"""What the encoder benchmark shows: a table, bounds, and accuracy against time."""

from __future__ import annotations

from statistics import mean
from typing import Any

from _bounds import Bound, Row, bounds_table
from _common import COLOURS, about, markdown

BASE = "slim_resnet18-20"
SHIPPED = "airnet-32"
EPOCH = 50_000
"""Images of CIFAR-10."""


def _lead_of_shipped(batch: int) -> Bound:
    return Bound(
        f"{SHIPPED}, batches of {batch}: times slim ResNet-18's images a second",
        "times_slim",
        4.0,
        lambda row: row["encoder"] == SHIPPED and row.get("batch") == batch,
        "{:.2f}",
    )


BOUNDS = (_lead_of_shipped(20), _lead_of_shipped(128))


def page(report: dict[str, Any]) -> str:
    """The report, as encoders.json has it, as Markdown."""
    rows = report["rows"]
    notes = sorted({row["data"] for row in rows if "data" in row})
    parts = [
        "# Encoders: accuracy against time",
        about(report["environment"] | {"precision": "float32", "data": ", ".join(notes)}),
        *(f"`{command}`" for command in dict.fromkeys(report["commands"].values())),
        bounds_table(BOUNDS, rows),
        "![](encoders.svg)",
        "Accuracy after one epoch of joint training (batches of 128, AdamW with a peak learning "
        "rate of 3e-3, one-cycle, crop and flip), the mean over seeds; images a second, forward "
        "and backward, of encoders that take turns in one process.",
        table(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: list[Row]) -> str:
    """A line an encoder."""
    header = ["encoder-width", "million multiplications an image", "accuracy", "seeds"]
    header += ["images a second, 20", "times slim", "images a second, 128", "times slim"]
    lines = []
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        own = [row for row in rows if row["encoder"] == encoder]
        epochs = [row for row in own if row["section"] == "accuracy"]
        speeds = {row["batch"]: row for row in own if row["section"] == "speed"}
        million = f"{speeds[20]['multiplications'] / 1e6:.1f}" if speeds else ""
        reached = [f"{_accuracy(epochs):.3f}", str(len(epochs))] if epochs else ["", ""]
        fast = [
            shown
            for row in speeds.values()
            for shown in (f"{row['images_a_second']:.0f}", f"{row['times_slim']:.2f}")
        ]
        lines.append([encoder, million, *reached, *(fast or [""] * 4)])
    return markdown(header, lines)


def draw(plt: Any, rows: list[Row]) -> Any:
    """Accuracy against the seconds of an epoch, an encoder a point; a line a family."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    families: dict[str, list[tuple[float, float, str]]] = {}
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        own = [row for row in rows if row["encoder"] == encoder]
        epochs = [row for row in own if row["section"] == "accuracy"]
        fast = [row for row in own if row.get("batch") == 128]
        if epochs and fast:
            family, _, width = encoder.rpartition("-")
            seconds = EPOCH / fast[0]["images_a_second"]
            families.setdefault(family, []).append((seconds, _accuracy(epochs), width))
    for colour, (family, points) in zip(COLOURS, families.items(), strict=False):
        seconds, accuracies, widths = zip(*sorted(points), strict=True)
        axes.plot(seconds, accuracies, "o-", color=colour, label=family, markersize=5)
        for x, y, width in zip(seconds, accuracies, widths, strict=True):
            axes.annotate(width, (x, y), textcoords="offset points", xytext=(5, -10), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of an epoch, forward and backward, float32")
    axes.set_ylabel("accuracy after it")
    axes.set_title("Joint CIFAR-10, one epoch; beside a point its width", fontsize=10)
    if families:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _accuracy(epochs: list[Row]) -> float:
    return mean(row["accuracy"] for row in epochs)
