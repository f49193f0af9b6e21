"""Sentences that many captions end with."""

from __future__ import annotations

from simo_cl.report.load import Suite


def band_note(suite: Suite) -> str:
    """What lines and bands are."""
    if all(len(suite.finished(label)) < 2 for label in suite.finished_labels):
        return " One seed."
    return " Mean over seeds; bands are one standard deviation."


def mean_note(suite: Suite) -> str:
    """What a value without a band is."""
    if all(len(suite.finished(label)) < 2 for label in suite.finished_labels):
        return " One seed."
    return " Mean over seeds."
