"""What a benchmark is held to, and how its page says whether that was reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from _common import markdown

Row = dict[str, Any]


@dataclass(frozen=True)
class Bound:
    """A limit for one number of some rows.

    Attributes:
        what: is measured, in words.
        key: of the number in a row.
        limit: the worst value allowed; `None` where the number is only for comparison.
        of: whether a row is meant.
        shown: the format of the number.
        at_least: whether the limit is the smallest value allowed, or the largest.
    """

    what: str
    key: str
    limit: float | None
    of: Callable[[Row], bool]
    shown: str = "{:.0%}"
    at_least: bool = True

    def line(self, rows: list[Row]) -> list[str]:
        """The worst value, of each precision where rows have one, beside the limit; empty without
        a row."""
        worst: dict[str, float] = {}
        for row in filter(self.of, rows):
            precision, value = row.get("precision", ""), row[self.key]
            values = (value, worst.get(precision, value))
            worst[precision] = min(values) if self.at_least else max(values)
        if not worst:
            return []
        values = ", ".join(
            self.shown.format(v) + (f" ({name})" if name else "") for name, v in worst.items()
        )
        if self.limit is None:
            return [self.what, "", values, ""]
        kept = [v >= self.limit if self.at_least else v <= self.limit for v in worst.values()]
        return [
            self.what,
            f"at {'least' if self.at_least else 'most'} {self.shown.format(self.limit)}",
            values,
            "yes" if all(kept) else "partly" if any(kept) else "no",
        ]


def bounds_table(bounds: Sequence[Bound], rows: list[Row], heading: str = "") -> str:
    """A line a bound that a row falls under."""
    lines = [line for line in (bound.line(rows) for bound in bounds) if line]
    return markdown([heading, "bound", "worst", "kept"], lines)
