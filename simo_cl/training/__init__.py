"""Avalanche plugins and strategies that train with SimO and with other contrastive losses."""

from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.contrastive_replay import ContrastiveReplay
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.replay_memory import ClassBalancedMemory, ReservoirMemory
from simo_cl.training.simo_plugin import SimOPlugin

__all__ = [
    "BalancedReplayPlugin",
    "ClassBalancedMemory",
    "ContrastiveReplay",
    "OnlineReplayPlugin",
    "ReservoirMemory",
    "SimOPlugin",
]
