"""How far apart C directions can be in d dimensions; needs nothing but numbers."""

from __future__ import annotations

import math


def welch_bound(num_classes: int, dimension: int) -> float:
    """Least root-mean-square cosine of C directions in d dimensions; tight frames attain it.

    ``sqrt((C - d) / (d (C - 1)))`` for C > d, else 0 (Welch, 1974).
    """
    if num_classes < 2 or dimension < 1:
        raise ValueError(
            "a bound needs at least two classes and one dimension, got "
            f"{num_classes} classes and {dimension} dimensions"
        )
    if num_classes <= dimension:
        return 0.0
    return math.sqrt((num_classes - dimension) / (dimension * (num_classes - 1)))


def coherence_bound(num_classes: int, dimension: int) -> float:
    """Best known lower bound on the coherence of C directions in d dimensions.

    The largest of Welch's bound; ``1 / sqrt(d)`` for C > d (d + 1) / 2 (Rankin's orthoplex bound
    on lines, as in Conway, Hardin & Sloane, 1996); and, exact in the plane, ``cos(pi / C)``.
    """
    bounds = [welch_bound(num_classes, dimension)]
    if num_classes > dimension * (dimension + 1) / 2:
        bounds.append(1 / math.sqrt(dimension))
    if dimension == 2 and num_classes > 2:
        bounds.append(math.cos(math.pi / num_classes))
    return max(bounds)
