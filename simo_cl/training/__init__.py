"""Avalanche plugins and strategies that train with SimO and with other contrastive losses."""

from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.contrastive_replay import ContrastiveReplay
from simo_cl.training.simo_plugin import SimOPlugin

__all__ = ["BalancedReplayPlugin", "ContrastiveReplay", "SimOPlugin"]
