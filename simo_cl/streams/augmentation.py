"""Normalization, and the augmentation of single images that are normalized already.

Data sets are augmented a batch at a time, by `simo_cl.streams.batch_augmentation`; iCaRL's
exemplars are not. Random numbers come from torch's global generator, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import Compose, RandomHorizontalFlip

from simo_cl.streams.augmentation_names import Augmentation, check_augmentations
from simo_cl.streams.data_set import DataSet


def evaluation_transform(data: DataSet) -> Normalize:
    """Pixels in [0, 255] to floats with mean 0 and standard deviation 1 over the training data."""
    return Normalize(data.mean, data.std)


def tensor_augmentation(
    names: Sequence[Augmentation], size: int, padding_value: Sequence[float] = (0.0,)
) -> Compose:
    """`crop` and `flip` for images that are normalized floats already.

    iCaRL stores its exemplars so and takes this as its `buffer_transform`.

    Args:
        names: from `crop` and `flip`, in the order of application.
        size: the images' height and width.
        padding_value: the value of each channel (or of all) around a cropped image. Black, which
            `BatchTransform` pads with, is `[-m / s for m, s in zip(data.mean, data.std)]`.

    Raises:
        ValueError: another or a repeated name.
    """
    check_augmentations(names, ("crop", "flip"))
    known = {"crop": Crop(size, padding_value), "flip": RandomHorizontalFlip()}
    return Compose([known[name] for name in names])


class Normalize:
    """uint8 (channels, h, w) to float32: pixel / 255, minus `mean`, over `std`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        mean_, std_ = torch.tensor(mean), torch.tensor(std)
        self.scale = (1 / (255 * std_)).view(-1, 1, 1)
        self.shift = (-mean_ / std_).view(-1, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        return torch.addcmul(self.shift, image, self.scale)


class Crop:
    """An image padded on every side by an eighth of its size, cropped back at a random place."""

    def __init__(self, size: int, padding_value: Sequence[float] = (0.0,)) -> None:
        self.size = size
        self.padding_value = torch.tensor(padding_value).view(-1, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        size, p = self.size, self.size // 8
        places = 2 * p + 1
        row, column = divmod(int(torch.randint(places * places, ()).item()), places)
        padded = self.padding_value.to(image).expand(len(image), size + 2 * p, size + 2 * p).clone()
        padded[:, p : p + size, p : p + size] = image
        return padded[:, row : row + size, column : column + size]
