from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from simo_cl.streams import AUGMENTATIONS, DataSet, Images
from simo_cl.streams.augmentation import (
    Crop,
    evaluation_transform,
    tensor_augmentation,
    training_transform,
)


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


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_varies_and_keeps_shape_and_input(
    colour_data: DataSet, name: str
) -> None:
    transform = training_transform([name], colour_data)
    image = colour_data.train.images[0]
    before = image.clone()
    results = [transform(image) for _ in range(30)]
    assert {(result.dtype, result.shape) for result in results} == {(torch.float32, (3, 32, 32))}
    assert len({result.numpy().tobytes() for result in results}) > 1
    assert torch.equal(image, before)


def test_all_augmentations_run_on_grey_images_and_in_a_data_loader_worker(
    colour_data: DataSet,
) -> None:
    def grey(images: Images) -> Images:
        return Images(images.images[:, :1], images.labels)

    data = dataclasses.replace(
        colour_data, train=grey(colour_data.train), test=grey(colour_data.test)
    )
    transform = pickle.loads(pickle.dumps(training_transform(AUGMENTATIONS, data)))
    assert transform(data.train.images[0]).shape == (1, 32, 32)


def test_tensor_augmentation_pads_as_the_training_transform(colour_data: DataSet) -> None:
    image = colour_data.train.images[0]
    normalize = evaluation_transform(colour_data)
    black = [-m / s for m, s in zip(colour_data.mean, colour_data.std, strict=True)]
    torch.manual_seed(1)
    expected = training_transform(["crop", "flip"], colour_data)(image)
    torch.manual_seed(1)
    augment = tensor_augmentation(["crop", "flip"], 32, padding_value=black)
    torch.testing.assert_close(augment(normalize(image)), expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flipp"], "Did you mean 'flip'"),
        (["crop", "crop"], "twice"),
        ("crop", "must be a list"),
    ],
)
def test_bad_names_are_refused(tiny_data: DataSet, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_transform(names, tiny_data)


def test_tensors_are_only_cropped_and_flipped() -> None:
    with pytest.raises(ValueError, match=r"'grayscale'.*Allowed: crop, flip"):
        tensor_augmentation(["grayscale"], 32)
