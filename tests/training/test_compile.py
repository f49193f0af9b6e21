"""`torch.compile` makes a graph for the first size of a batch, one for all others, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from avalanche.training.supervised import Naive
from parts import Witness, stock
from torch import Tensor, nn
from torch._dynamo.utils import counters

from simo_cl.losses import SimOLoss
from simo_cl.models import Classifier, EmbeddingModel, build_encoder, projection_head

BATCHES = 10


@pytest.fixture(autouse=True)
def _fresh_counters() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def check_graphs(encoder: nn.Module, images: int) -> None:
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    assert encoder.images_forwarded == images


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    for index in range(BATCHES):
        size = (12, 20)[index % 2]
        yield torch.randn(size, 3, 9, 9), torch.arange(size) % 4


@pytest.mark.parametrize(("name", "precision"), [("airnet", "float32"), ("small_cnn", "bfloat16")])
def test_a_model(name, precision):
    encoder = build_encoder(name, width=8, precision=precision)
    model = torch.compile(Classifier(encoder, 4), backend="eager")
    for images, _ in batches():
        model(images).sum().backward()
    check_graphs(encoder, images=160)


def test_a_model_with_its_loss():
    encoder = build_encoder("small_cnn", width=8)
    model = EmbeddingModel(encoder, projection_head("mlp", encoder.num_features, 16), 4)
    loss = SimOLoss()

    @torch.compile(backend="eager")
    def step(images: Tensor, labels: Tensor) -> Tensor:
        return loss(model(images), labels)

    for images, labels in batches():
        step(images, labels).backward()
    check_graphs(encoder, images=160)


def test_a_strategy(stream):
    """Each experience has 48 images, so each epoch ends with a smaller batch."""
    model = Classifier(build_encoder("small_cnn", channels=1, width=8), 6)
    model.compile(backend="eager")
    sizes = Witness("before_forward", lambda strategy: len(strategy.mb_x))
    strategy = stock(Naive, model, train_mb_size=20, train_epochs=2, plugins=[sizes])
    for experience in islice(stream.train_stream, 2):
        strategy.train(experience)
    assert sizes.seen == [20, 20, 8] * 4
    check_graphs(model.encoder, images=192)
