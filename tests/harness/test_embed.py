from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

from simo_cl.harness.embed import Embedded, embed, in_half_precision
from simo_cl.models import EmbeddingModel, build_encoder, projection_head

LAYERS = {"features": "encoder", "embedding": "head"}


@pytest.fixture
def model() -> EmbeddingModel:
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", channels=1, width=4)
    return EmbeddingModel(encoder, projection_head("mlp", 32, 8), num_classes=3)


@pytest.fixture
def dataset() -> TensorDataset:
    return TensorDataset(torch.randn(7, 1, 8, 8), torch.tensor([2, 0, 1, 0, 2, 0, 1]))


def test_images_are_embedded_in_their_order(model: EmbeddingModel, dataset: TensorDataset) -> None:
    embedded = embed(model, dataset, LAYERS, batch_size=3, device=torch.device("cpu"))

    model.eval()
    with torch.no_grad():
        for index in range(len(dataset)):
            image, label = dataset[index]
            features = model.encoder(image[None])
            torch.testing.assert_close(embedded.spaces["features"][index], features[0])
            torch.testing.assert_close(embedded.spaces["embedding"][index], model.head(features)[0])
            assert embedded.labels[index] == label


def test_the_model_is_left_as_it_was(model: EmbeddingModel, dataset: TensorDataset) -> None:
    model.train()
    model.head.eval()
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}

    embed(model, dataset, LAYERS, batch_size=3, device=torch.device("cpu"))

    assert model.training
    assert not model.head.training
    assert model.encoder.training
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, statistics[name]), name
    assert model.encoder.images_forwarded == 0


def test_the_first_of_each_class_come_class_by_class() -> None:
    points = torch.arange(7.0)[:, None]
    embedded = Embedded({"features": points}, torch.tensor([2, 0, 1, 0, 2, 0, 1]))

    first = embedded.first_per_class([0, 2], 2)

    assert first.labels.tolist() == [0, 0, 2, 2]
    assert first.spaces["features"].flatten().tolist() == [1, 3, 0, 4]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.5, -3.0, 0.0], "float16"),
        ([65_504.0, 1.0, 0.0], "float16"),
        ([65_536.0, 1.0, 0.0], "float32"),
        ([1e30, 1.0, 0.0], "float32"),
        ([1e-9, -1e-9, 0.0], "float32"),
        ([0.0, 0.0, 0.0], "float16"),
    ],
)
def test_half_precision_where_it_holds_the_values(values: list[float], dtype: str) -> None:
    points = torch.tensor([values, [1.0, 2.0, 3.0]])

    stored = in_half_precision(points)

    assert stored.dtype == dtype
    torch.testing.assert_close(
        torch.from_numpy(stored).float(), points, rtol=1e-3, atol=0, check_dtype=False
    )
