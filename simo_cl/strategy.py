"""What a strategy file imports: docs/strategies.md says how one is written."""

from __future__ import annotations

from simo_cl.harness.contrastive import ContrastiveSettings, contrastive_replay
from simo_cl.harness.settings import Number, PositiveInt, RunSettings, StrategySettings
from simo_cl.harness.setup import Setup

__all__ = [
    "ContrastiveSettings",
    "Number",
    "PositiveInt",
    "RunSettings",
    "Setup",
    "StrategySettings",
    "contrastive_replay",
]
