"""Matrices as pictures.

Painted pixel by pixel: a plotting library takes a hundred times as long for the same picture, and a
suite has many.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Pixels: a square for each matrix, its cells in there, and what the key of the colours takes.
_PANEL, _LEFT, _TOP, _CELLS, _SCALE = 440, 70, 48, 340, 70
_MOST_TICKS = 6
_MOST_NUMBERS = 144


def heat_map(
    matrices: Mapping[str, NDArray[np.float64]],
    title: str,
    *,
    low: float,
    high: float,
    rows: str = "",
    columns: str = "",
    first: int = 0,
    has_numbers: bool = False,
) -> Image.Image:
    """Matrices beside each other as colours on one scale; NaN is left white.

    Args:
        matrices: by what is written above each, (rows, columns).
        title: of all.
        low, high: the values at the ends of the scale.
        rows, columns: what they are of.
        first: the number of the first row and column.
        has_numbers: whether cells have their values in them, unless there are too many.
    """
    size = (_PANEL * len(matrices) + _SCALE, _PANEL)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((size[0] / 2, 8), title, "black", _font(15), anchor="mt")
    for number, (name, matrix) in enumerate(matrices.items()):
        left = number * _PANEL + _LEFT
        side = _CELLS / max(matrix.shape)
        height, width = (round(side * length) for length in matrix.shape)
        top = _TOP + (_CELLS - height) // 2
        middle = left + _CELLS / 2
        draw.text((middle, _TOP - 6), name, "black", _font(13), anchor="mb")
        _paint(picture, matrix, (left, top, width, height), low, high)
        for row in _ticks(matrix.shape[0]):
            # A run that learns all at once has one row, which is of no experience.
            text = "all" if first and len(matrix) == 1 else str(row + first)
            draw.text((left - 8, top + side * (row + 0.5)), text, "black", _font(14), anchor="rm")
        for column in _ticks(matrix.shape[1]):
            below = left + side * (column + 0.5), top + height + 8
            draw.text(below, str(column + first), "black", _font(14), anchor="mt")
        draw.text((middle, _PANEL - 6), columns, "black", _font(14), anchor="mb")
        if rows:
            label = Image.new("RGB", (_CELLS, 20), "white")
            ImageDraw.Draw(label).text((_CELLS / 2, 10), rows, "black", _font(14), anchor="mm")
            picture.paste(label.rotate(90, expand=True), (left - 62, _TOP))
        if has_numbers and matrix.size <= _MOST_NUMBERS:
            _write_numbers(draw, matrix, (left, top), side, (low + high) / 2)
    scale = np.linspace(high, low, 256)[:, None]
    _paint(picture, scale, (size[0] - 82, 88, 14, 260), low, high)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = f"{low + share * (high - low):.3g}"
        draw.text((size[0] - 62, 348 - 260 * share), value, "black", _font(13), anchor="lm")
    return picture


def _paint(
    picture: Image.Image,
    matrix: NDArray[np.float64],
    place: tuple[int, int, int, int],
    low: float,
    high: float,
) -> None:
    """Colours in a frame, at (left, top, width, height)."""
    left, top, width, height = place
    colours = matplotlib.colormaps["RdBu_r" if low < 0 else "viridis"]
    shares = np.ma.masked_invalid((matrix - low) / (high - low))
    cells = Image.fromarray(colours(shares, bytes=True))
    cells = cells.resize((width, height), Image.Resampling.NEAREST)
    picture.paste(cells, (left, top), cells)
    frame = (left - 1, top - 1, left + width, top + height)
    ImageDraw.Draw(picture).rectangle(frame, outline="black")


def _ticks(length: int) -> range:
    return range(0, length, -(-length // _MOST_TICKS))


def _write_numbers(
    draw: ImageDraw.ImageDraw,
    matrix: NDArray[np.float64],
    corner: tuple[int, int],
    side: float,
    middle: float,
) -> None:
    """The values in the cells, readable on viridis, which is light above."""
    font = _font(12 if max(matrix.shape) <= 6 else 9)
    decimals = 2 if np.nanmax(matrix, initial=0.0) <= 1.0 else 0
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            place = corner[0] + side * (column + 0.5), corner[1] + side * (row + 0.5)
            colour = "black" if value > middle else "white"
            draw.text(place, f"{value:.{decimals}f}", colour, font, anchor="mm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
