"""simo-cl: the SimO loss and a continual-learning benchmark harness on Avalanche.

The public names are imported on first use, so that `import simo_cl` stays cheap: Avalanche alone
takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simo_cl import register
    from simo_cl.analysis import Results, load_results
    from simo_cl.losses import SimOLoss, SimOTerms, simo_loss, simo_terms
    from simo_cl.metrics.plugins import continual_learning_metrics, orthogonality_metrics
    from simo_cl.models import Classifier, EmbeddingModel
    from simo_cl.running import run_suite
    from simo_cl.streams import load_data, register_data_source
    from simo_cl.streams.class_incremental import class_incremental
    from simo_cl.streams.resident import ResidentDataset, resident_dataset
    from simo_cl.tracking.mlflow_logger import MLflowLogger
    from simo_cl.training import (
        BalancedReplayPlugin,
        ClassBalancedMemory,
        ContrastiveReplay,
        OnlineReplayPlugin,
        ReservoirMemory,
        SimOPlugin,
    )

__version__ = "0.1.0"

_HOME_OF = {
    "Results": "simo_cl.analysis",
    "load_results": "simo_cl.analysis",
    "SimOLoss": "simo_cl.losses",
    "SimOTerms": "simo_cl.losses",
    "simo_loss": "simo_cl.losses",
    "simo_terms": "simo_cl.losses",
    "continual_learning_metrics": "simo_cl.metrics.plugins",
    "orthogonality_metrics": "simo_cl.metrics.plugins",
    "Classifier": "simo_cl.models",
    "EmbeddingModel": "simo_cl.models",
    "run_suite": "simo_cl.running",
    "load_data": "simo_cl.streams",
    "register_data_source": "simo_cl.streams",
    "class_incremental": "simo_cl.streams.class_incremental",
    "MLflowLogger": "simo_cl.tracking.mlflow_logger",
    "ResidentDataset": "simo_cl.streams.resident",
    "resident_dataset": "simo_cl.streams.resident",
    "BalancedReplayPlugin": "simo_cl.training",
    "ClassBalancedMemory": "simo_cl.training",
    "ContrastiveReplay": "simo_cl.training",
    "OnlineReplayPlugin": "simo_cl.training",
    "ReservoirMemory": "simo_cl.training",
    "SimOPlugin": "simo_cl.training",
}
__all__ = [
    "BalancedReplayPlugin",
    "ClassBalancedMemory",
    "Classifier",
    "ContrastiveReplay",
    "EmbeddingModel",
    "MLflowLogger",
    "OnlineReplayPlugin",
    "ReservoirMemory",
    "ResidentDataset",
    "Results",
    "SimOLoss",
    "SimOPlugin",
    "SimOTerms",
    "class_incremental",
    "continual_learning_metrics",
    "load_data",
    "load_results",
    "orthogonality_metrics",
    "register",
    "register_data_source",
    "resident_dataset",
    "run_suite",
    "simo_loss",
    "simo_terms",
]


def __getattr__(name: str) -> Any:
    if name == "register":
        return importlib.import_module("simo_cl.register")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'simo_cl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
