"""What a strategy file imports: docs/strategies.md says how one is written."""

from __future__ import annotations

from simo_cl.harness.contrastive import (
    ContrastiveSettings,
    DistilledSettings,
    EmbeddingSettings,
    contrastive_replay,
    embedding_replay,
    replay_of,
)
from simo_cl.harness.settings import (
    LEARNING_RATES,
    Number,
    PositiveInt,
    RunSettings,
    StrategySettings,
)
from simo_cl.harness.setup import Setup

__all__ = [
    "LEARNING_RATES",
    "ContrastiveSettings",
    "DistilledSettings",
    "EmbeddingSettings",
    "Number",
    "PositiveInt",
    "RunSettings",
    "Setup",
    "StrategySettings",
    "contrastive_replay",
    "embedding_replay",
    "replay_of",
]
