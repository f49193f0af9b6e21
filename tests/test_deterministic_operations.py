"""What is shipped has a deterministic form on CUDA; run on the CPU, by the operators it calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nondeterministic import OPERATORS, Operators
from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.losses import SimOLoss
from simo_cl.losses.orthogonal_projection import OrthogonalProjectionLoss
from simo_cl.models import Classifier, EmbeddingModel, build_encoder, encoder_names, projection_head
from simo_cl.training.mined_loss import MinedLoss

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "SimO": SimOLoss(),
    "SimO, batch": SimOLoss(form="batch"),
    "SimO, any norm": SimOLoss(normalize=False, leaning=0.1),
    "SimO, distance": SimOLoss(form="distance"),
    "SimO, orthogonality": SimOLoss(form="orthogonality"),
    "orthogonal projection": OrthogonalProjectionLoss(),
    "SupCon": SupConLoss(temperature=0.1),
    "triplet": MinedLoss(
        TripletMarginLoss(margin=0.5, smooth_loss=True),
        TripletMarginMiner(margin=0.5, type_of_triplets="semihard"),
    ),
    "cross-entropy": F.cross_entropy,
}


def operators_of(loss: Loss, model: nn.Module, images: Tensor, labels: Tensor) -> set[str]:
    with Operators() as operators:
        loss(model(images), labels).backward()
    return operators.names


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("encoder", encoder_names())
@pytest.mark.parametrize("size", [28, 32])
def test_encoders(encoder: str, norm: str, size: int) -> None:
    model = Classifier(build_encoder(encoder, channels=1, width=8, norm=norm), 5)
    images, labels = torch.randn(4, 1, size, size), torch.arange(4)
    names = operators_of(F.cross_entropy, model, images, labels)
    assert "convolution_backward" in names
    assert not names & OPERATORS


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    model = nn.Linear(8, 6)
    names = operators_of(LOSSES[name], model, torch.randn(12, 8), torch.arange(12) % 3)
    assert any(operator.endswith("mm") for operator in names)
    assert not names & OPERATORS


@pytest.mark.parametrize("read_out", ["features", "embedding"])
def test_the_read_out(read_out: str) -> None:
    head = projection_head("mlp", 64, 6)
    model = EmbeddingModel(build_encoder("small_cnn", channels=1, width=8), head, 3, read_out)
    with Operators() as operators, torch.no_grad():
        images, labels = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
        model.set_class_means(model.read_out_points(images), labels)
        model.eval()(images)
    assert not operators.names & OPERATORS


def test_an_operator_without_is_found() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    images = torch.randn(3, 1, 4, 4, requires_grad=True)
    names = operators_of(F.cross_entropy, model, images, torch.arange(3))
    assert names & OPERATORS == {"_adaptive_avg_pool2d_backward"}
