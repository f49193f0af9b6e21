from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from simo_cl.metrics.continual import continual_metrics
from simo_cl.metrics.geometry import geometry_metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_metric_is_documented():
    embeddings = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    names = [
        *geometry_metrics(embeddings, torch.arange(30) % 3),
        *continual_metrics(np.full((3, 3), 0.5)),
    ]
    missing = [name for name in names if f"`{name}`" not in PAGE]
    assert not missing
