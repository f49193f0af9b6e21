"""Decoding of one image file or of its bytes in memory."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np


def decode_rgb(source: Path | BinaryIO) -> np.ndarray:
    """An encoded image as uint8 (height, width, 3); grey becomes RGB, transparency is dropped.

    Raises:
        ValueError: it cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow calls a damaged PNG a syntax error.
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(str(error)) from error
