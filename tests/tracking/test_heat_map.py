from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps
from PIL.Image import Image

from simo_cl.tracking.heat_map import heat_map

MATRIX = np.array([[0.25, np.nan], [1.0, 0.0]])


def cells(picture: Image, shape: tuple[int, int], panel: int = 0) -> np.ndarray:
    """The colours near the corners of the cells, where no number is."""
    side = 340 / max(shape)
    down = 48 + (340 - side * shape[0]) / 2 + side * np.arange(shape[0]) + 4
    right = 440 * panel + 70 + side * np.arange(shape[1]) + 4
    return np.asarray(picture)[down.astype(int)][:, right.astype(int)]


@pytest.mark.parametrize("has_numbers", [False, True])
def test_a_cell_has_the_colour_of_its_value_and_what_is_not_known_has_none(
    has_numbers: bool,
) -> None:
    picture = heat_map({"": MATRIX}, "er", low=0.0, high=1.0, first=1, has_numbers=has_numbers)
    found = cells(picture, (2, 2))
    viridis = colormaps["viridis"]
    for place, value in np.ndenumerate(MATRIX):
        colour = (255, 255, 255) if np.isnan(value) else viridis(value, bytes=True)[:3]
        assert tuple(found[place]) == tuple(colour)


def test_numbers_stand_in_small_matrices_alone() -> None:
    def draw(size: int, has_numbers: bool) -> bytes:
        matrix = np.full((size, size), 0.5)
        return heat_map({"": matrix}, "", low=0.0, high=1.0, has_numbers=has_numbers).tobytes()

    assert draw(12, True) != draw(12, False)
    assert draw(13, True) == draw(13, False)


def test_matrices_stand_beside_each_other_on_one_scale() -> None:
    spaces = {"features": np.array([[-1.0, 0.0]]), "embedding": np.array([[0.0], [1.0]])}
    picture = heat_map(spaces, "simo", low=-1.0, high=1.0)
    colour = [tuple(c) for c in colormaps["RdBu_r"]([0.0, 0.5, 1.0], bytes=True)[:, :3]]
    assert [tuple(c) for c in cells(picture, (1, 2))[0]] == colour[:2]
    assert [tuple(c) for c in cells(picture, (2, 1), panel=1)[:, 0]] == colour[1:]
    assert picture.width == 2 * 440 + 70


def test_texts_are_drawn() -> None:
    """Title, names of axes and of a matrix, and the numbers of rows, each in its place."""

    def differs(box: tuple[int, int, int, int], **texts: str) -> bool:
        given = {"title": "", "rows": "", "columns": "", **texts}
        name = given.pop("name", "")
        picture = heat_map({name: MATRIX}, low=0.0, high=1.0, **given)
        bare = heat_map({"": MATRIX}, "", low=0.0, high=1.0)
        return picture.crop(box).tobytes() != bare.crop(box).tobytes()

    assert differs((0, 0, 510, 28), title="er, seed 0")
    assert differs((70, 28, 410, 46), name="features")
    assert differs((0, 48, 30, 388), rows="after training on experience")
    assert differs((70, 415, 410, 440), columns="accuracy on experience")
    of_all = heat_map({"": MATRIX[:1]}, "", low=0.0, high=1.0, first=1)
    numbered = heat_map({"": MATRIX[:1]}, "", low=0.0, high=1.0, first=0)
    rows = (30, 48, 66, 388)
    assert of_all.crop(rows).tobytes() != numbered.crop(rows).tobytes()
