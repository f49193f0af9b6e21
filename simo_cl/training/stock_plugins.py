"""Which of Avalanche's plugins have nothing to act on in contrastive training, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from avalanche.training.plugins import (
    BiCPlugin,
    CoPEPlugin,
    CurrentDataFeCAMUpdate,
    CurrentDataNCMUpdate,
    CWRStarPlugin,
    FeatureDistillationPlugin,
    FeCAMOracle,
    GenerativeReplayPlugin,
    GSS_greedyPlugin,
    LFLPlugin,
    LwFPlugin,
    MemoryFeCAMUpdate,
    MemoryNCMUpdate,
    MIRPlugin,
    NCMOracle,
    RARPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
    TrainGeneratorAfterExpPlugin,
)

_NO_SCORES = "it works on class scores, and while it trains the model gives embeddings"
_OWN_BATCHES = "it replays batches of its own, and those of replay= would be lost"
_ONE_BY_ONE = "it rates samples one by one, and a contrastive loss is that of a whole batch"
_OTHER_MODEL = "it reads a part that only other models have"
_OWN_READ_OUT = "it sets class means of an eval_classifier, and this model has its own read-out"

REFUSED: dict[type, str] = {
    BiCPlugin: _NO_SCORES,
    CWRStarPlugin: _NO_SCORES,
    CoPEPlugin: "it puts a loss and a last layer of its own in the place of those given",
    CurrentDataFeCAMUpdate: _OWN_READ_OUT,
    CurrentDataNCMUpdate: _OWN_READ_OUT,
    FeCAMOracle: _OWN_READ_OUT,
    FeatureDistillationPlugin: f"{_OTHER_MODEL}, features",
    GSS_greedyPlugin: _OWN_BATCHES,
    GenerativeReplayPlugin: f"{_NO_SCORES}; generated images would have no labels",
    LFLPlugin: f"{_OTHER_MODEL}, get_features()",
    LwFPlugin: _NO_SCORES,
    MIRPlugin: _ONE_BY_ONE,
    MemoryFeCAMUpdate: _OWN_READ_OUT,
    MemoryNCMUpdate: _OWN_READ_OUT,
    NCMOracle: _OWN_READ_OUT,
    RARPlugin: _ONE_BY_ONE,
    ReplayPlugin: _OWN_BATCHES,
    TrainGeneratorAfterExpPlugin: "it belongs to GenerativeReplayPlugin, which is refused",
}

REFUSED_ON_THE_CPU: dict[type, str] = {
    SynapticIntelligencePlugin: (
        "on the CPU, Avalanche's compares the weights with themselves, so that all importances are "
        "0, in any strategy; on CUDA it works"
    ),
}


def refuse_unsuitable(plugins: Iterable[Any], device: torch.device | str) -> None:
    """Refuses plugins that would do nothing, or something else than their name says.

    Raises:
        ValueError: one is of such a kind; it is named, with the reason.
    """
    on_the_cpu = torch.device(device).type == "cpu"
    refused = {**REFUSED, **(REFUSED_ON_THE_CPU if on_the_cpu else {})}
    for plugin in plugins:
        for kind, reason in refused.items():
            if isinstance(plugin, kind):
                raise ValueError(
                    f"{type(plugin).__name__} cannot be used with ContrastiveReplay: {reason}"
                )
