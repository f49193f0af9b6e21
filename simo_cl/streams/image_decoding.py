"""Pictures that Pillow opens, as 8-bit pixels.

Pillow's own conversions clip what has more than 8 bits: 16-bit grey comes out white. Here every
mode whose black and white are known is scaled between them, and the others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from simo_cl.streams.data_set import DataBrokenError

if TYPE_CHECKING:
    from PIL import Image

EIGHT_BITS = {
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "LAB", "HSV"),
}
"""Pillow's modes that lose nothing in 8 bits a channel."""

_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}
_WHITE = 2**16 - 1
# TIFF's tags.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


def decode_rgb(source: Path | BinaryIO, where: str) -> np.ndarray:
    """An encoded picture as uint8 (height, width, 3); grey becomes RGB.

    Args:
        source: a file, or its bytes, in any format that Pillow reads.
        where: what errors call it.

    Raises:
        DataBrokenError: it cannot be decoded, has no known range (see :func:`eight_bits`), has
            transparent pixels, or has several frames.
    """
    from PIL import Image

    # Pillow calls a damaged PNG a syntax error, and a TIFF without a size one of types.
    damaged = (EOFError, OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError)
    try:
        with Image.open(source) as image:
            return np.asarray(_rgb(image, where))
    except damaged as error:
        raise DataBrokenError(
            f"{where}: not a readable image ({error}). Copy it again, or save it as PNG."
        ) from error


def eight_bits(image: Image.Image, where: str) -> Image.Image:
    """The picture with 8 bits a channel: itself, or 16-bit grey scaled to 0 (black) to 255 (white).

    Args:
        image: of any mode.
        where: what errors call it.

    Raises:
        DataBrokenError: black and white are not known, as in floating-point modes, or the
            values fill so little of 16 bits that nearly nothing would be left in 8.
    """
    from PIL import Image

    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    signed = any(form != 1 for form in tags.get(_SAMPLE_FORMAT, ()))
    if image.mode in EIGHT_BITS and not signed:
        return image.convert("L") if image.mode == "1" else image
    white = None if signed else _white(image, tags)
    if white is None:
        raise DataBrokenError(
            f"{where}: its mode is {image.mode!r}"
            f"{' (signed)' if signed and image.mode != 'F' else ''}, and it is not known which "
            "values are black and white. Save it with 8 bits (black 0, white 255) or as 16-bit "
            "grey (black 0, white 65535)."
        )
    values = np.asarray(image).astype(np.int64)
    if 0 < values.max() <= white // 16:
        raise DataBrokenError(
            f"{where}: its mode is {image.mode!r}, where white is {white}, but no value is above "
            f"{values.max()}: 16 grey levels or fewer would be left. Scale the values of all "
            "pictures alike to the full range."
        )
    # Pillow inverts these only where they have 8 bits or fewer.
    if tags.get(_PHOTOMETRIC) == 0:
        values = white - values
    return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))


def _white(image: Image.Image, tags: Mapping[int, Any]) -> int | None:
    """The value of white in a grey picture of more than 8 bits."""
    if image.mode in _SIXTEEN_BITS:
        if image.format == "TIFF":
            return 2 ** tags[_BITS][0] - 1
        # Made in memory, or scaled to 16 bits by Pillow.
        return _WHITE if image.format in (None, "PNG", "JPEG2000") else None
    # Pillow scales PGM to 16 bits, and has 16-bit PNG in this mode before version 11.
    return _WHITE if image.mode == "I" and image.format in ("PNG", "PPM") else None


def _rgb(image: Image.Image, where: str) -> Image.Image:
    # Phones put a preview beside a photograph.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataBrokenError(
            f"{where}: it has {frames} frames or pages. Save each that you want as a file of its "
            "own."
        )
    if _is_transparent(image):
        raise DataBrokenError(
            f"{where}: its mode is {image.mode!r}, and it has transparent pixels, whose colour is "
            "not known. Lay it on a background of your choice and save it without transparency."
        )
    grey_or_colour = eight_bits(image, where)
    if grey_or_colour.mode == "La":
        grey_or_colour = grey_or_colour.convert("LA")
    return grey_or_colour.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    if image.mode in _SIXTEEN_BITS or image.mode == "I":
        return bool((np.asarray(image) == image.info["transparency"]).any())
    if image.mode == "La":
        image = image.convert("LA")
    return bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)
