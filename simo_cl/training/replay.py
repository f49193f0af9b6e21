"""The plugins that make batches of new data and memory, and what some methods ask of them."""

from __future__ import annotations

from typing import TypeAlias

from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.online_replay import OnlineReplayPlugin

Replay: TypeAlias = BalancedReplayPlugin | OnlineReplayPlugin


def refuse_without_current_samples(replay: Replay, method: str) -> None:
    """Refuses a plugin for a method by which only the memory tells new classes from older ones.

    Raises:
        ValueError: more than one view, or no current samples in the memory.
    """
    refuse_views(replay, method)
    if isinstance(replay, BalancedReplayPlugin) and not replay.replays_current:
        raise ValueError(
            "replay keeps current samples out of its memory while it trains on them, so that "
            "nothing would tell their classes from older ones; give it replays_current=True"
        )


def refuse_views(replay: Replay, method: str) -> None:
    """Refuses a plugin whose batches hold more than one view, for a method that is for one.

    Raises:
        ValueError: more than one view.
    """
    if replay.views != 1:
        raise ValueError(f"replay has {replay.views} views; {method} is for 1")
