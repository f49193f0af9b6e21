"""docs/metrics.md has what the library says of its metrics and read-outs, and both have all."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from simo_cl.metrics.continual import continual_metrics
from simo_cl.metrics.described import METRICS, READ_OUTS, Metric, of_family
from simo_cl.metrics.geometry import geometry_metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = {
    name: cells
    for name, *cells in re.findall(
        r"^\| `([\w/]+)` \| (.*) \| (.*) \| (.*) \| (.*?) ?\|$", PAGE, re.MULTILINE
    )
}
TABLES = of_family("continual") | of_family("geometry")


@pytest.mark.parametrize("name", TABLES)
def test_the_page_says_of_a_metric_what_the_library_says(name: str) -> None:
    metric = TABLES[name]
    good = {"up": "high", "down": "low", "": "-"}[metric.direction]

    assert ROWS[name] == [metric.definition, metric.unit, good, metric.source]


def test_the_page_has_no_other_metrics() -> None:
    assert set(ROWS) == set(TABLES)


def test_every_read_out_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)

    assert {name: classifier for name, classifier, _ in rows} == {
        name: read_out.classifier for name, read_out in READ_OUTS.items()
    }
    for name, _, fitted_on in rows:
        assert ("memory" in fitted_on) == (READ_OUTS[name].fitted_on == "memory")


def test_every_metric_is_described() -> None:
    embeddings = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    names = {
        *geometry_metrics(embeddings, torch.arange(30) % 3),
        *continual_metrics(np.full((3, 3), 0.5)),
    }

    assert names <= set(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_description_is_whole(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.heading
    assert metric.definition
    assert metric.unit
