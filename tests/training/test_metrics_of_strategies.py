"""The metrics with strategies that classify by one layer in training and another in evaluation."""

from __future__ import annotations

import pytest
import torch
from parts import icarl, quiet, scr

from simo_cl.metrics.geometry import geometry_metrics
from simo_cl.metrics.plugins import continual_learning_metrics, orthogonality_metrics


@pytest.mark.parametrize("make", [scr, icarl])
def test_the_features_that_are_read_out_are_measured(stream, make):
    metrics = [*orthogonality_metrics(samples_per_class=100), *continual_learning_metrics()]
    strategy = make(plugins=[], evaluator=quiet(metrics))
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
        last = strategy.eval(stream.test_stream)
    datasets = [experience.dataset.eval() for experience in stream.test_stream[:2]]
    images = torch.stack([image for dataset in datasets for image, *_ in dataset])
    labels = torch.tensor([int(y) for dataset in datasets for y in dataset.targets])
    with torch.no_grad():
        features = strategy.model.eval().feature_extractor(images)
    expected = geometry_metrics(features, labels)
    assert {name: last[f"features/{name}"] for name in expected} == pytest.approx(
        expected, abs=1e-4
    )
    assert last["forgetting"] <= 1
