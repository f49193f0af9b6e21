"""Sentences that many captions end with."""

from __future__ import annotations

from simo_cl.report.drawing import SEEDS_FOR_A_BAND
from simo_cl.results import Suite


def band_note(suite: Suite) -> str:
    """What lines and bands are."""
    most = max((len(suite.finished(label)) for label in suite.finished_labels), default=0)
    if most < SEEDS_FOR_A_BAND:
        return mean_note(suite)
    return (
        f"{mean_note(suite)[:-1]}; bands are its 95 % t interval, from {SEEDS_FOR_A_BAND} seeds on."
    )


def mean_note(suite: Suite) -> str:
    """What a value without a band is."""
    if all(len(suite.finished(label)) < 2 for label in suite.finished_labels):
        return " One seed."
    return " Mean over seeds."
