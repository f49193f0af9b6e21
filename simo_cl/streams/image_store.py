"""Labelled images in one tensor on the training device, read a batch at a time."""

from __future__ import annotations

import hashlib
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from simo_cl.streams.augmentation_names import Augmentation
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.streams.data_set import DataSet

Normalization = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel, of pixels in [0, 1]."""

Transform = Callable[[Tensor], Tensor]
"""A batch of images to the model's input."""

# Of the memory that is free on a GPU, what images may take: the rest is for training.
_SHARE_OF_DEVICE_MEMORY = 0.8
_IMAGES_AT_ONCE = 250


class ImageStore:
    """Images and labels as two tensors on a device; samples are named by their row.

    A store is pickled and copied by its name, so that what refers to it stays small. See
    :func:`image_store`, which names stores by their content. What is sent to another process, as to
    a data loader's worker, takes the images with it, in shared memory.

    Args:
        name: a store of the same name, in this or another process, must be the same.
        images: uint8 (N, channels, size, size); or what an encoder made of them, (N, F).
        labels: int64 (N,).
        transforms: for "train" and "eval", what turns a batch of images into the model's input.
        device: where batches are wanted. If the images do not fit into its memory, they stay in
            that of the host, and each batch is moved; a warning says so.

    Attributes:
        labels: int64 (N,) in host memory.
    """

    def __init__(
        self,
        name: str,
        images: Tensor,
        labels: Tensor,
        transforms: Mapping[str, Transform],
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.device = torch.device(device)
        self.transforms = dict(transforms)
        self.labels = labels.cpu()
        self._labels = labels.to(self.device)
        self._images = _place(images, self.device)
        _STORES[name] = self

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Sequence[int] | NDArray[np.int64], group: str) -> tuple[Tensor, Tensor]:
        """Images and labels of a batch, on the device.

        Args:
            rows: row numbers, at least one, any order, repeats allowed: each is transformed
                independently.
            group: of the transforms, "train" or "eval".

        Returns:
            float32 (N, channels, size, size) and int64 (N,).

        Raises:
            RuntimeError: in a data loader's worker process when the device is no CPU.
        """
        if self.device.type != "cpu" and get_worker_info() is not None:
            raise self._no_workers()
        index = torch.as_tensor(rows, dtype=torch.int64)
        on_device = index.to(self.device, non_blocking=True)
        images = self._images.index_select(0, index.to(self._images.device, non_blocking=True))
        transform = self.transforms[group]
        return (
            transform(images.to(self.device, non_blocking=True)),
            self._labels.index_select(0, on_device),
        )

    def embedded(self, encoder: nn.Module) -> ImageStore:
        """A store with features in the same rows, in place of the images, and no augmentation.

        The last two are kept, so that of several runs in this process the first one computes them.

        Args:
            encoder: in evaluation mode on this device; normalized images (N, channels, size, size)
                to features (N, F).
        """
        name = f"{self.name} {_fingerprint(encoder)}"
        store = _STORES.get(name)
        if store is None:
            parts = torch.arange(len(self)).split(_IMAGES_AT_ONCE)
            with torch.no_grad():
                features = torch.cat([encoder(self.batch(rows, "eval")[0]) for rows in parts])
            groups = dict.fromkeys(self.transforms, nn.Identity())
            store = ImageStore(name, features, self.labels, groups, self.device)
        _EMBEDDED.append(store)
        return store

    def raw(self, row: int) -> Tensor:
        """The image in this row, uint8 (channels, size, size), in host memory."""
        return self._images[row].cpu()

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self.name,)

    def _reduce_for_process(self) -> tuple[Any, ...]:
        if self.device.type != "cpu":
            raise self._no_workers()
        content = (self._images, self.labels, self.transforms, self.device)
        return _find_or_make, (self.name, *content)

    def _no_workers(self) -> RuntimeError:
        return RuntimeError(
            f"these images are on {self.device}, which a data loader's worker process cannot use; "
            "train with num_workers=0, as there is nothing left for workers to do"
        )


# As torch does for tensors, which then share their memory.
ForkingPickler.register(ImageStore, ImageStore._reduce_for_process)


def image_store(
    data: DataSet,
    part: str,
    augment: Sequence[Augmentation] = (),
    normalization: Normalization | None = None,
    device: torch.device | str = "cpu",
) -> ImageStore:
    """The store of a data set's images, which the group "train" augments and both normalize.

    Its name tells content, transforms and device. While such a store is in use in this process, the
    same one is given again.

    Args:
        data: gives the images.
        part: "train" or "test".
        augment: names of augmentations, see :class:`BatchTransform`.
        normalization: mean and standard deviation of each channel, of pixels in [0, 1]; default:
            those of the training images.
        device: see :class:`ImageStore`.

    Raises:
        ValueError: an unknown augmentation, or a normalization of other channels.
    """
    images = data.train if part == "train" else data.test
    mean, std = (data.mean, data.std) if normalization is None else normalization
    if len(mean) != data.channels or len(std) != data.channels:
        raise ValueError(
            f"the normalization has {len(mean)} means and {len(std)} standard deviations, but "
            f"{data.name} has {data.channels} channels; give one of each for every channel"
        )
    transforms = {
        group: BatchTransform(names, size=data.size, mean=mean, std=std)
        for group, names in (("train", augment), ("eval", ()))
    }
    content = repr((data.digest, part, transforms, str(torch.device(device))))
    name = hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
    store = _STORES.get(name)
    if store is None:
        store = ImageStore(name, images.images, images.labels, transforms, device)
    return store


_STORES: weakref.WeakValueDictionary[str, ImageStore] = weakref.WeakValueDictionary()
_EMBEDDED: deque[ImageStore] = deque(maxlen=2)
"""Of the training and of the test images."""


def _find(name: str) -> ImageStore:
    try:
        return _STORES[name]
    except KeyError:
        raise RuntimeError(
            f"the images {name} are not loaded in this process. What was unpickled refers to them; "
            "make the same stream or resident data set first, with the same data, augmentations "
            "and device, and keep it"
        ) from None


def _find_or_make(name: str, *content: Any) -> ImageStore:
    loaded = _STORES.get(name)
    return ImageStore(name, *content) if loaded is None else loaded


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha1(repr(module).encode(), usedforsecurity=False)
    for name, weights in module.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _place(images: Tensor, device: torch.device) -> Tensor:
    images = images.contiguous()
    if device.type != "cuda" or images.nbytes <= _SHARE_OF_DEVICE_MEMORY * free_memory(device):
        return images.to(device)
    warnings.warn(
        f"{len(images)} images take {images.nbytes / 2**20:,.0f} MiB, but {device} has "
        f"{free_memory(device) / 2**20:,.0f} MiB free: they stay in host memory and each batch is "
        "moved, which is slower",
        stacklevel=5,
    )
    return images


def free_memory(device: torch.device) -> int:
    """Bytes free on a CUDA device."""
    return torch.cuda.mem_get_info(device)[0]
