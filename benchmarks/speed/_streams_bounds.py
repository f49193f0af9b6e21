"""What streams and replay are held to, and what a report of the benchmark says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from _bounds import Bound, Row
from _scene import BARE, EMPTY, ON_OURS, OURS, OURS_SPLIT, SLIM

CROP_AND_FLIP = "crop + flip"
OURS_ONLINE = (OURS, "ours, SupCon", "ours, triplet", "ours, SimO")


def _ours(row: Row) -> bool:
    online = row["section"] in ("online", "contrastive") and row["network"] == SLIM
    return online and row["contestant"] in OURS_ONLINE


def _bare(row: Row) -> bool:
    online = row["section"] in ("online", "contrastive") and row["network"] == SLIM
    return online and row["contestant"].startswith(BARE)


def _stock_strategies_on_ours(row: Row) -> bool:
    compared = row["section"] == "strategies" and row["network"] == SLIM
    return compared and row["contestant"].endswith(", our data")


def _batch_protocol(row: Row) -> bool:
    return row["section"] == "batch" and row["network"] == SLIM and row["contestant"] == ON_OURS


def _empty(contestant: str, augment: str) -> Callable[[Row], bool]:
    def of(row: Row) -> bool:
        online = row["section"] == "online" and row["network"] == EMPTY
        return online and (row["contestant"], row["augment"]) == (contestant, augment)

    return of


def _part(section: str, *contestants: str) -> Callable[[Row], bool]:
    return lambda row: row["section"] == section and row["contestant"] in contestants


_MS: dict[str, Any] = {"key": "ms", "shown": "{:.2f} ms", "at_least": False}
BOUNDS = (
    Bound("online replay, SCR, triplet and SimO: of the bare loop's speed", "of_bare", 0.85, _ours),
    Bound("the same: times stock Avalanche's", "times_stock", 2, _ours, "{:.2f}"),
    Bound("what the bare loop itself reaches of that", "times_stock", None, _bare, "{:.2f}"),
    Bound(
        "Avalanche's ER-ACE, DER, iCaRL and MIR on our data: times their stock speed",
        "times_stock",
        1.5,
        _stock_strategies_on_ours,
        "{:.2f}",
    ),
    Bound("batch protocol: of the bare loop's speed", "of_bare", 0.95, _batch_protocol),
    Bound("an online iteration, empty network", limit=0.5, of=_empty(OURS, ""), **_MS),
    Bound("the same with crop and flip", limit=1, of=_empty(OURS, CROP_AND_FLIP), **_MS),
    Bound(
        "on split_online_stream, our memory", limit=1.5, of=_empty(OURS_SPLIT, CROP_AND_FLIP), **_MS
    ),
    Bound("on it, Avalanche's memory", limit=3, of=_empty(ON_OURS, CROP_AND_FLIP), **_MS),
    Bound(
        "last over first fifth of 5,000 batches",
        "last_over_first",
        1.1,
        _part("course", OURS, OURS_SPLIT),
        "{:.2f}",
        at_least=False,
    ),
    Bound(
        "all metrics: of the training time",
        "of_training",
        0.05,
        _part("evaluation", "all metrics on top"),
        "{:.1%}",
        at_least=False,
    ),
    Bound(
        "MLflow: of the training time",
        "of_training",
        0.02,
        _part("evaluation", "MLflow"),
        "{:.1%}",
        at_least=False,
    ),
)
