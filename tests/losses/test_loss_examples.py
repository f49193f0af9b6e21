"""Losses that are functions, and what strategies make of them, have examples that run."""

from __future__ import annotations

import doctest
import inspect
from types import ModuleType

import pytest
import torch

from simo_cl.losses import (
    asymmetric_metric,
    asymmetric_supcon,
    fixed_directions,
    orthogonal_projection,
    relation_distillation,
)
from simo_cl.models import fixed_direction_model
from simo_cl.training import (
    asymmetric_cross_entropy,
    asymmetric_metric_learning,
    co2l_loss,
    distillation,
    metric_loss,
)

MODULES = [
    asymmetric_cross_entropy,
    asymmetric_metric,
    asymmetric_metric_learning,
    asymmetric_supcon,
    co2l_loss,
    distillation,
    fixed_direction_model,
    fixed_directions,
    metric_loss,
    orthogonal_projection,
    relation_distillation,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_examples_run(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module, extraglobs={"torch": torch})
    assert failed == 0
    assert tried > 0


def test_every_class_has_an_example() -> None:
    without = [
        name
        for module in MODULES
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and ">>> " not in (kind.__doc__ or "")
    ]
    assert without == []
