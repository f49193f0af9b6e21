"""Small pieces of sentences."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], at_most: int | None = None) -> str:
    """`a, b and c`; beyond `at_most` names the rest are counted: `a, b and 3 more`."""
    if at_most is not None and len(names) > at_most:
        names = [*names[:at_most], f"{len(names) - at_most} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def count(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
