"""Augmentation and normalization of a batch of images on its device, each image independently.

Parameters and distributions are those of torchvision's transforms, which work an image at a time.
Random parameters are drawn on the host, a few numbers an image, and sent to the device: one seed
gives one augmentation on every device, and nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simo_cl.streams.augmentation_names import Augmentation, check_augmentations
from simo_cl.streams.batch_color import ColorJitter, Grayscale


class BatchTransform:
    """Augments and normalizes a batch of images at once, each image independently, on its device.

    Crops and flips are exact. The others give floats, as torchvision's functions do for float
    images: nothing is rounded to whole grey levels, where torchvision's rounding of uint8 images
    changes a pixel by less than one and a half levels in each operation. A flip may change
    places with any other augmentation and the results are distributed as before, so it is done
    together with a crop, where there is one.

    Args:
        names: from `AUGMENTATIONS`, in the order of application: `crop` (zero-padded by an eighth
            of the side, then cropped at random), `flip` (horizontally, p 0.5), `resized_crop`
            (scale 0.2 to 1, ratio 3/4 to 4/3, bilinear), `color_jitter` (0.4, 0.4, 0.4, 0.1;
            p 0.8), `grayscale` (p 0.2).
        size: the images' height and width in pixels.
        mean: each channel's mean, in [0, 1].
        std: each channel's standard deviation, positive.

    Raises:
        ValueError: an unknown or repeated name; `mean` and `std` that do not belong together;
            `color_jitter` or `grayscale` for images without 1 or 3 channels.
    """

    def __init__(
        self,
        names: Sequence[Augmentation],
        *,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        check_augmentations(names)
        channels = len(mean)
        if len(std) != channels or min(std, default=0) <= 0:
            raise ValueError(
                f"mean is {list(mean)} and std {list(std)}: give one of each for every channel, "
                "and only positive standard deviations."
            )
        for name in ("color_jitter", "grayscale"):
            if name in names and channels not in (1, 3):
                raise ValueError(
                    f"The augmentation '{name}' needs images of 1 (grey) or 3 (red, green, blue) "
                    f"channels; these have {channels}. Leave it out, or choose other data."
                )
        self.names = tuple(names)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.size = size
        self.channels = channels
        self.steps = _steps(names, size, channels)
        means, stds = torch.tensor((self.mean, self.std), device="cpu")[..., None, None]
        self.scale = 1 / (255 * stds)
        self.shift = -means / stds
        self._on_device = self.scale, self.shift

    def __getstate__(self) -> dict[str, object]:
        """Without copies on a device that the reader may not have."""
        return {**self.__dict__, "_on_device": (self.scale, self.shift)}

    def __repr__(self) -> str:
        return f"BatchTransform({self.names}, mean={self.mean}, std={self.std})"

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augmented images, with mean 0 and standard deviation 1 over the training data.

        Args:
            images: uint8 (N, channels, size, size), at least one, on any device.
            generator: a CPU generator for the random parameters; without one, torch's own.

        Returns:
            float32 (N, channels, size, size) on the images' device; contiguous, or, without
            augmentations, laid out as the images are.

        Raises:
            ValueError: images of another type, size or number of channels.
        """
        expected = (self.channels, self.size, self.size)
        if images.dtype != torch.uint8 or images.shape[1:] != expected or not len(images):
            raise ValueError(
                f"Images are {images.dtype} {tuple(images.shape)}; the transform was "
                f"made for uint8 (N, {', '.join(map(str, expected))}) with N at least 1."
            )
        for step in self.steps:
            images = step.apply(images.contiguous(), *step.draw(len(images), generator))
        if self._on_device[0].device != images.device:
            self._on_device = (
                self.scale.to(images.device, non_blocking=True),
                self.shift.to(images.device, non_blocking=True),
            )
        scale, shift = self._on_device
        # Not `addcmul`, which is slow where its factors are broadcast.
        return images.float().mul_(scale).add_(shift)


class CropAndFlip:
    """Images padded with zeros, cropped back at a random place, and half of them mirrored.

    Args:
        size: the images' height and width.
        padding: zeros on every side; without them all images stay in place.
        flips: whether half of the images are mirrored.
    """

    def __init__(self, size: int, padding: int, flips: bool) -> None:
        self.size = size
        self.padding = padding
        self.flips = flips

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Row and column of each crop in the padded image, and whether it is mirrored.

        Returns:
            Three int64 tensors (count,) on the host: twice in [0, 2 * padding], once 0 or 1.
        """
        places = 2 * self.padding + 1
        rows, columns = torch.randint(places, (2, count), generator=generator, device="cpu")
        return rows, columns, _draw_mirrored(count, self.flips, generator)

    def apply(self, images: Tensor, rows: Tensor, columns: Tensor, mirrored: Tensor) -> Tensor:
        """Images (N, C, size, size), each mirrored or not, then padded and cropped at its place.

        Every crop of any padded image begins at one position in memory, so a view with overlapping
        rows has all of them, and `index_select` copies those asked for: several times as fast as
        indexing.
        """
        n, c, size, _ = images.shape
        p, side = self.padding, self.size + 2 * self.padding
        padded = images.new_zeros(1 + self.flips, n, c, side, side)
        inner = padded[..., p : p + size, p : p + size]
        inner[0] = images
        if self.flips:
            inner[1] = images.flip(-1)
        volume = c * side * side
        starts = torch.arange(0, n * volume, volume, device="cpu").add_(columns)
        starts.add_(rows, alpha=side).add_(mirrored, alpha=n * volume)
        crop_span = volume - 2 * p * (side + 1)
        places = padded.numel() - crop_span + 1
        crops = padded.as_strided((places, c, size, size), (1, side * side, side, 1))
        return crops.index_select(0, starts.to(images.device, non_blocking=True))


class ResizedCrop:
    """A random part of each image, 0.2 to 1 of its area, resized to the image's size.

    Args:
        size: the images' height and width.
        flips: whether half of the images are mirrored.
    """

    def __init__(self, size: int, flips: bool) -> None:
        self.size = size
        self.flips = flips
        self.positions = (torch.arange(size, device="cpu") + 0.5) / size

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """The part of each image, and whether it is mirrored.

        As torchvision draws it: the area and the logarithm of the ratio of width to height are
        uniform; of ten tries the first whose sides, rounded to whole pixels, fit the image counts,
        and without one, the whole image.

        Returns:
            Top and left pixel, float (2, count); height and width in pixels, float (2, count);
            mirrored, int64 (count,), 0 or 1; all on the host and all whole numbers.
        """
        tries = torch.rand(2, count, 11, generator=generator, device="cpu")
        root = tries[0].mul_(0.8).add_(0.2).sqrt_().mul_(self.size)
        ratio = tries[1].sub_(0.5).mul_(math.log(4 / 3)).exp_()
        sides = torch.stack((root / ratio, root * ratio)).round_().clamp_(min=1)
        sides[..., 10] = self.size
        fits = sides.amax(0).le_(self.size)
        lengths = sides.gather(2, fits.argmax(1)[None, :, None].expand(2, -1, -1))[..., 0]
        free = torch.rand(2, count, generator=generator, device="cpu")
        firsts = free.mul_(self.size + 1 - lengths).floor_()
        return firsts, lengths, _draw_mirrored(count, self.flips, generator)

    def apply(self, images: Tensor, firsts: Tensor, lengths: Tensor, mirrored: Tensor) -> Tensor:
        """Images (N, C, size, size), each its part, bilinear, then mirrored or not; float32.

        Bilinear interpolation is separable: a matrix for the rows times the image times one for the
        columns, with weight `1 - distance` for pixels nearer than 1. Points beyond the part's outer
        pixels take those pixels' values. A part is never reduced, so antialiasing has no effect.
        """
        n, c, size, _ = images.shape
        turned = torch.stack((torch.zeros_like(mirrored), mirrored))[..., None]
        points = (turned - self.positions).abs_().mul_(lengths[..., None]).sub_(0.5).clamp_(min=0)
        points = points.minimum(lengths[..., None] - 1).add_(firsts[..., None])
        distances = points.to(images.device, non_blocking=True)[..., None] - torch.arange(
            size, device=images.device
        )
        rows, columns = distances.abs_().neg_().add_(1).clamp_(min=0)
        # With `out`, because autocast would make the products half precision.
        halfway = torch.empty(n, c * size, size, device=images.device)
        torch.bmm(images.float().view(n, c * size, size), columns.mT, out=halfway)
        rows = rows[:, None].expand(n, c, size, size).reshape(n * c, size, size)
        out = torch.empty(n * c, size, size, device=images.device)
        torch.bmm(rows, halfway.view(n * c, size, size), out=out)
        return out.view(images.shape)


def _steps(
    names: Sequence[Augmentation], size: int, channels: int
) -> list[CropAndFlip | ResizedCrop | ColorJitter | Grayscale]:
    flipping = next((name for name in ("resized_crop", "crop") if name in names), "flip")

    def step(name: str) -> CropAndFlip | ResizedCrop | ColorJitter | Grayscale:
        flips = "flip" in names and name == flipping
        if name == "resized_crop":
            return ResizedCrop(size, flips)
        if name == "color_jitter":
            return ColorJitter(channels)
        if name == "grayscale":
            return Grayscale(channels)
        return CropAndFlip(size, size // 8 if name == "crop" else 0, flips)

    return [step(name) for name in names if name != "flip" or flipping == "flip"]


def _draw_mirrored(count: int, flips: bool, generator: torch.Generator | None) -> Tensor:
    return torch.randint(1 + flips, (count,), generator=generator, device="cpu")
