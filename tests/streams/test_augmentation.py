from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from simo_cl.streams import DataSet, Images
from simo_cl.streams.augmentation import Crop, evaluation_transform, tensor_augmentation


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def colour_data(tiny_data: DataSet) -> DataSet:
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(20) % 7
    return dataclasses.replace(tiny_data, train=Images(images, labels), test=Images(images, labels))


def test_normalized_as_torchvision_does(colour_data: DataSet) -> None:
    image = colour_data.train.images[0]
    expected = reference.normalize(
        reference.to_dtype(image, torch.float32, scale=True),
        list(colour_data.mean),
        list(colour_data.std),
    )
    torch.testing.assert_close(evaluation_transform(colour_data)(image), expected)


def test_normalized_training_images_have_mean_0_and_deviation_1(colour_data: DataSet) -> None:
    normalize = evaluation_transform(colour_data)
    pixels = torch.stack([normalize(image) for image in colour_data.train.images])
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_crop_gives_every_place_of_the_padded_image_and_no_other() -> None:
    image = torch.randint(1, 256, (3, 32, 32), dtype=torch.uint8)
    padded = reference.pad(image, [4, 4, 4, 4])
    places = {
        padded[:, row : row + 32, column : column + 32].numpy().tobytes()
        for row in range(9)
        for column in range(9)
    }
    crop = Crop(32)
    assert {crop(image).numpy().tobytes() for _ in range(1000)} == places


def test_flip_mirrors_half_of_the_images() -> None:
    image = torch.randn(3, 32, 32)
    flip = tensor_augmentation(["flip"], 32)
    results = [flip(image) for _ in range(1000)]
    mirrored = [torch.equal(result, image.flip(-1)) for result in results]
    assert all(torch.equal(r, image) for r, m in zip(results, mirrored, strict=True) if not m)
    assert 440 < sum(mirrored) < 560


def test_padding_is_black(colour_data: DataSet) -> None:
    image = colour_data.train.images[0]
    normalize = evaluation_transform(colour_data)
    black = [-m / s for m, s in zip(colour_data.mean, colour_data.std, strict=True)]
    torch.manual_seed(1)
    expected = normalize(Crop(32)(image))
    torch.manual_seed(1)
    augment = tensor_augmentation(["crop"], 32, padding_value=black)
    torch.testing.assert_close(augment(normalize(image)), expected)


def test_a_data_loader_worker_can_be_given_it() -> None:
    transform = pickle.loads(pickle.dumps(tensor_augmentation(["crop", "flip"], 8)))
    assert transform(torch.zeros(1, 8, 8)).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flipp"], "Did you mean 'flip'"),
        (["crop", "crop"], "twice"),
        ("crop", "must be a list"),
    ],
)
def test_bad_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tensor_augmentation(names, 32)


def test_tensors_are_only_cropped_and_flipped() -> None:
    with pytest.raises(ValueError, match=r"'grayscale'.*Allowed: crop, flip"):
        tensor_augmentation(["grayscale"], 32)
