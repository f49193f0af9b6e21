"""Colour augmentation of a batch on its device, each image with random parameters of its own.

As in torchvision on float images, nothing is rounded to whole grey levels in between. Each class
draws its parameters on the host and makes the same passes over the batch whatever they are, so that
nothing waits for the device. The passes are plain arithmetic, because `torch.where`, comparisons
and remainders take 5 to 20 times as long as an addition on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

# What each channel weighs in an image's grey, in torchvision.
_LUMA = (0.2989, 0.587, 0.114)


def grey_weights(channels: int) -> Tensor:
    """What each channel weighs in the grey of an image with 1 or 3 channels: (channels,)."""
    return torch.tensor((1.0,) if channels == 1 else _LUMA, device="cpu")


class Grayscale:
    """An image's grey in all its channels, for a fifth of the images."""

    def __init__(self, channels: int) -> None:
        self.identity = torch.eye(channels, device="cpu")
        self.grey = grey_weights(channels).expand(channels, channels).contiguous()

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Which images turn grey: bool (count,), on the host."""
        return (torch.rand(count, generator=generator, device="cpu") < 0.2,)

    def apply(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Images (N, channels, h, w) as floats, grey where `chosen` (N,) says so."""
        mixing = torch.where(chosen[:, None, None], self.grey, self.identity)
        pixels = images.float().flatten(2)
        mixing = mixing.to(images.device, non_blocking=True)
        return torch.bmm(mixing, pixels, out=torch.empty_like(pixels)).view(images.shape)


class ColorJitter:
    """Brightness, contrast, saturation (0.4 each) and hue (0.1) change in a random order; p 0.8.

    The first three pull an image towards black, its mean grey or its own grey: a matrix times each
    pixel's channels, plus a constant. So one product over the batch does any of them, and an
    image's three are done in three products, in its own order, when its hue turns last. Because the
    hue takes more time than all of them, it turns once for the whole batch, with three products
    before and three after it; a product that is not an image's own leaves it unchanged.
    """

    operations = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.strength = torch.tensor((0.4, 0.4, 0.4, 0.1), device="cpu")
        self.neutral = torch.tensor((1.0, 1.0, 1.0, 0.0), device="cpu")
        identity = torch.eye(channels, device="cpu").flatten()
        grey = grey_weights(channels)
        # A row an operation: what a full pull adds to the matrix, and the weight of each channel's
        # mean in the constant.
        self.pulls = torch.stack(
            (
                torch.cat((-identity, 0 * grey)),
                torch.cat((-identity, grey)),
                torch.cat((grey.repeat(channels) - identity, 0 * grey)),
            )
        )
        self.no_pull = torch.cat((identity, 0 * grey))

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Random parameters of `count` images, on the host.

        Returns:
            Factors of brightness, contrast and saturation (1 changes nothing) and the hue's shift
            in turns (0 changes nothing), float (count, 4); and the order of application: int64
            (count, 4), each row a permutation of the indices into `operations`.
        """
        offset = torch.rand(count, 4, generator=generator, device="cpu").mul_(2).sub_(1)
        applied = torch.rand(count, 1, generator=generator, device="cpu") < 0.8
        factors = torch.addcmul(self.neutral, offset.mul_(self.strength), applied)
        return factors, torch.rand(count, 4, generator=generator, device="cpu").argsort(1)

    def apply(self, images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
        """Images (N, channels, h, w) with levels in [0, 255], as floats, changed as `draw` says.

        A single channel keeps its saturation and hue, as in torchvision.
        """
        products = self._products(factors, order).to(images.device, non_blocking=True)
        c = self.channels
        matrices = products[..., : c * c].view(6, -1, c, c).unbind()
        constants = products[..., None, c * c :].unbind()
        pixels = images.float().flatten(2)
        for step in range(6):
            if step == 3 and c == 3:
                sextants = (6 * factors[:, 3:]).to(images.device, non_blocking=True)
                pixels = turn_hue(pixels, sextants)
            pixels = _blend(pixels, matrices[step], constants[step])
        return pixels.view(images.shape)

    def _products(self, factors: Tensor, order: Tensor) -> Tensor:
        """The matrix and the constant's weights of each product: (6, N, channels² + channels)."""
        steps = order.T[..., None]
        pull = (steps == torch.arange(3, device="cpu")) * (1 - factors[:, :3])
        after_hue = pull * (steps == 3).cumsum(0)
        pulls = torch.cat(((pull - after_hue)[:3], after_hue[1:]))
        products = torch.empty(6, len(factors), self.pulls.shape[1], device="cpu")
        # With `out`, because autocast would make the product half precision.
        torch.addmm(self.no_pull, pulls.flatten(0, 1), self.pulls, out=products.flatten(0, 1))
        return products


def _blend(pixels: Tensor, matrix: Tensor, weights: Tensor) -> Tensor:
    """`matrix` times each pixel's channels plus `weights` times the channels' means, clamped."""
    means = pixels.mean(2, keepdim=True)
    constant = torch.bmm(weights, means, out=torch.empty_like(means[:, :1]))
    out = torch.empty_like(pixels)
    return torch.baddbmm(constant, matrix, pixels, out=out).clamp_(0, 255)


def turn_hue(pixels: Tensor, sextants: Tensor) -> Tensor:
    """Pixels with their hue turned, each with the same lightest and darkest value as before.

    The hue is the angle on the colour hexagon, in sextants from red, in [-3, 3]. Around the hexagon
    each channel follows one trapezoid, `low + chroma * clamp(2 - distance, 0, 1)` with its distance
    from the channel's own corner. Green and blue are computed from the opposite corners, -1 and 1,
    which no point lies more than 4 from: `low + chroma * clamp(distance - 1, 0, 1)`.

    Args:
        pixels: float (N, 3, P); red, green, blue.
        sextants: (N, 1), on the same device: the angle for each image, in [-3, 3].
    """
    red, green, blue = pixels.unbind(1)
    low = torch.minimum(red, green)
    low = torch.minimum(low, blue, out=low)
    high = torch.maximum(red, green)
    high = torch.maximum(high, blue, out=high)
    chroma = high - low

    # In units of the chroma, r is how much red is below the lightest channel, d how much green is
    # above blue. The hue is d where red is the lightest (r = 0), ±(1 + r) where it is between the
    # others (d = ±1) and ±3 - d where it is the darkest (r = 1), with the sign of d. All three are
    # d + r (±3 - 2 d).
    divisor = chroma.clamp_min(1e-6)
    r = (high - red).div_(divisor)
    d = (green - blue).div_(divisor)
    hue = (3 * r).copysign_(d).addcmul_(r, d, value=-2).add_(d).add_(sextants)
    hue.sub_((hue / 6).round_(), alpha=6)

    out = torch.empty_like(pixels)
    torch.abs(hue, out=out[:, 0])
    torch.add(hue, 1, out=out[:, 1])
    torch.sub(hue, 1, out=out[:, 2])
    out[:, 1:].abs_()
    out.clamp_(1, 2).mul_(chroma[:, None])
    torch.sub(high + chroma, out[:, 0], out=out[:, 0])
    out[:, 1:].add_((low - chroma)[:, None])
    return out
