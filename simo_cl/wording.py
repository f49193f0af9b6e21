"""Small pieces of sentences, in messages as on the report's page."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`, `2 strategies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


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


def differ(things: Sequence[object]) -> str:
    """The verb of so many."""
    return "differs" if len(things) == 1 else "differ"


def duration(seconds: float) -> str:
    """In the two units that matter: `3.2 s`, `48 s`, `9 min 12 s`, `3 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
