"""The examples in the docstrings of losses that are functions run."""

from __future__ import annotations

import doctest
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
from simo_cl.training import metric_loss

MODULES = [
    asymmetric_metric,
    asymmetric_supcon,
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
