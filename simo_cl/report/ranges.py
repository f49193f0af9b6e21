"""Ranges of axes that one row cannot flatten for all others."""

from __future__ import annotations

from collections.abc import Sequence

# `templates/report.js` has the same rule for the rows that are shown.
FLATTENS = 2.5


def range_of(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The least and the greatest value of the rows.

    Of three rows or more, one is left out that would take the room: without it the others have less
    than 1/2.5 of the range.

    Example:
        >>> range_of([[0.7, 0.8], [0.6, 0.7], [0.1, 0.2]])
        (0.6, 0.8)
        >>> range_of([[0.7, 0.8], [0.6, 0.7], [0.4, 0.5]])
        (0.4, 0.8)
    """
    low, high = min(map(min, rows)), max(map(max, rows))
    for left_out in range(len(rows) if len(rows) > 2 else 0):
        others = [value for index, row in enumerate(rows) if index != left_out for value in row]
        if 0 < FLATTENS * (max(others) - min(others)) < high - low:
            return min(others), max(others)
    return low, high
