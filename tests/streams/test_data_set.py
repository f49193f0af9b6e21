from __future__ import annotations

import dataclasses

import pytest
import torch

from simo_cl.streams import DataBrokenError, DataSet, Images


def test_mean_and_std_are_those_of_the_training_pixels(tiny_data: DataSet) -> None:
    images = torch.randint(0, 256, (20, 2, 8, 8), dtype=torch.uint8)
    data = dataclasses.replace(tiny_data, train=Images(images, torch.zeros(20, dtype=torch.int64)))
    pixels = images.double().transpose(0, 1).flatten(1) / 255
    torch.testing.assert_close(torch.tensor(data.mean).double(), pixels.mean(dim=1))
    torch.testing.assert_close(torch.tensor(data.std).double(), pixels.std(dim=1, correction=0))


def test_a_constant_channel_can_be_normalized(tiny_data: DataSet) -> None:
    black = Images(torch.zeros_like(tiny_data.train.images), tiny_data.train.labels)
    assert dataclasses.replace(tiny_data, train=black).std == pytest.approx((1 / 255, 1 / 255))


def test_properties(tiny_data: DataSet) -> None:
    assert (tiny_data.num_classes, tiny_data.channels, tiny_data.size) == (7, 2, 8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3, 2, 8, 8), torch.zeros(3, dtype=torch.int64), "float32"),
        (torch.zeros(3, 2, 8, 9, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "square"),
        (torch.zeros(3, 2, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "int64"),
        (torch.zeros(0, 2, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), "no image"),
        (torch.zeros(3, 2, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 7]), "0 to 6"),
        (torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2]), "must be alike"),
    ],
)
def test_refuses_what_is_not_a_data_set(
    tiny_data: DataSet, images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataBrokenError, match=message):
        dataclasses.replace(tiny_data, train=Images(images, labels))


def test_refuses_what_holds_no_tensors(tiny_data: DataSet) -> None:
    arrays = Images(tiny_data.train.images.numpy(), tiny_data.train.labels)
    with pytest.raises(DataBrokenError, match=r"tiny, train: images are a ndarray; .*as_tensor"):
        dataclasses.replace(tiny_data, train=arrays)
    with pytest.raises(DataBrokenError, match="tiny, test is a tuple; expected Images"):
        dataclasses.replace(tiny_data, test=(1, 2))
