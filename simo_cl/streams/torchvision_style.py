"""Images of a data set as torchvision's are: samples of a picture and a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import default_loader, pil_loader

from simo_cl.streams.data_set import DataBrokenError, Images
from simo_cl.streams.image_decoding import EIGHT_BITS, eight_bits


def images_of(dataset: Any) -> Images:
    """All samples of a data set, in its order.

    Args:
        dataset: of samples (picture, label): a PIL image, a uint8 array (size, size, channels) or
            (size, size), or a uint8 tensor (channels, size, size), all of one size, and an integer.
            PIL images keep their channels; 16-bit grey is scaled to 8 bits. Where the data set has
            ``data`` and ``targets`` arrays, as CIFAR and MNIST of torchvision, these are read at
            once.

    Raises:
        ValueError: the data set, or one that it is made of, transforms its samples.
        DataBrokenError: no picture, pictures that are no uint8 pixels, that torchvision's own
            loader would clip to 8 bits, or of several sizes, or labels that are no integers.
    """
    for part in _parts(dataset):
        _refuse_transforms(part)
        _refuse_clipping(part)
    if len(dataset) == 0:
        raise DataBrokenError("the data set has no sample")
    data, targets = getattr(dataset, "data", None), getattr(dataset, "targets", None)
    if isinstance(data, (np.ndarray, Tensor)) and targets is not None:
        # As a copy, since torch takes no array that is read backwards, as from BGR to RGB.
        pixels = torch.from_numpy(np.array(data)) if isinstance(data, np.ndarray) else data
        if pixels.ndim == 3:
            return _checked(pixels[:, None], targets)
        if pixels.ndim == 4 and pixels.shape[3] <= 4:
            return _checked(pixels.permute(0, 3, 1, 2).contiguous(), targets)
    pictures, labels = [], []
    for index in range(len(dataset)):
        picture, label, *_ = dataset[index]
        pictures.append(_pixels(picture, index))
        labels.append(label)
    sizes = {tuple(picture.shape) for picture in pictures}
    if len(sizes) != 1:
        raise DataBrokenError(
            f"the pictures have {len(sizes)} shapes (channels x height x width), such as "
            f"{sorted(sizes)[:3]}; bring them to one size first"
        )
    return _checked(torch.stack(pictures), labels)


def _parts(dataset: Any) -> Iterator[Any]:
    """The data set, and those that torch's Subset and ConcatDataset make it of."""
    yield dataset
    for part in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if part is not None:
            yield from _parts(part)


def _refuse_transforms(dataset: Any) -> None:
    for name in ("transform", "target_transform", "transforms"):
        if getattr(dataset, name, None) is not None:
            raise ValueError(
                f"the data set has a {name}; make it without, and name augmentations by augment=: "
                "they are done for a batch at once"
            )


def _refuse_clipping(dataset: Any) -> None:
    if getattr(dataset, "loader", None) not in (default_loader, pil_loader):
        return
    for file, _ in getattr(dataset, "samples", ()):
        with Image.open(file) as image:
            if image.mode not in EIGHT_BITS:
                raise DataBrokenError(
                    f"{file}: its mode is {image.mode!r}, and torchvision's loader clips it to 8 "
                    "bits. Make the data set with loader=PIL.Image.open, which leaves it as it is: "
                    "16-bit grey is scaled then"
                )


def _pixels(picture: Any, index: int) -> Tensor:
    if isinstance(picture, Tensor):
        pixels = picture
    elif getattr(picture, "mode", None) in ("P", "PA"):
        raise DataBrokenError(
            f"sample {index} has the mode {picture.mode!r}: numbers of a palette, which are no "
            "pixels; convert the pictures to 'RGB' first"
        )
    else:
        is_pil = isinstance(picture, Image.Image)
        array = np.array(eight_bits(picture, f"sample {index}") if is_pil else picture)
        pixels = torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)
    if pixels.dtype != torch.uint8 or pixels.ndim != 3:
        raise DataBrokenError(
            f"sample {index} is {pixels.dtype} {tuple(pixels.shape)}; expected a picture of uint8 "
            "pixels, before any conversion to floats"
        )
    return pixels


def _checked(pixels: Tensor, labels: Sequence[int] | Tensor) -> Images:
    if pixels.dtype != torch.uint8:
        raise DataBrokenError(f"the pixels are {pixels.dtype}; expected uint8")
    numbers = labels.numpy(force=True) if isinstance(labels, Tensor) else np.array(labels)
    if numbers.dtype.kind not in "biu":
        raise DataBrokenError(f"the labels are {numbers.dtype}; expected integers")
    return Images(pixels, torch.from_numpy(numbers.astype(np.int64)))
