"""Where a difference in average accuracy comes from: learning new experiences, or keeping old ones.

With T experiences, average accuracy = learning accuracy + (T - 1)/T x backward transfer, exactly:
what was reached right after training on each experience, and what has become of it since. So a
difference from the control, too, is the sum of a difference in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simo_cl.report.statistics import Comparison, compare_with_control
from simo_cl.results import Suite


@dataclass(frozen=True)
class Origin:
    """One row's difference from the control, and the two parts that add up to it."""

    total: Comparison
    learnt: Comparison
    kept: Comparison


def origins(suite: Suite, comparisons: Sequence[Comparison]) -> list[Origin]:
    """Split every comparison in average accuracy whose parts were measured on the same seeds."""
    learnt = {c.label: c for c in compare_with_control(suite, "learning_accuracy")}
    kept = {c.label: c for c in compare_with_control(suite, "backward_transfer")}
    return [
        Origin(total, learnt[total.label], _scaled(kept[total.label], 1 - 1 / experiences))
        for total in comparisons
        if (experiences := suite.experiences_of(total.label)) > 1
        and total.difference is not None
        and total.seeds == learnt[total.label].seeds == kept[total.label].seeds
    ]


def _scaled(comparison: Comparison, factor: float) -> Comparison:
    """The comparison of a positive multiple of the metric; p does not change."""

    def scaled(value: float | None) -> float | None:
        return None if value is None else factor * value

    return replace(
        comparison,
        difference=scaled(comparison.difference),
        low=scaled(comparison.low),
        high=scaled(comparison.high),
    )
