"""Names that users write, and what they stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """A sentence that suggests the nearest name, with a space before it; "" if none is near.

    Example:
        >>> did_you_mean("simmo", ["er", "simo"])
        " Did you mean 'simo'?"
    """
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
