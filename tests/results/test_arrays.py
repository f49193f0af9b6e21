from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simo_cl.results import read_arrays
from simo_cl.results.arrays import write_arrays


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"accuracy/own": np.eye(2), "labels": np.arange(3)})
    arrays = read_arrays(tmp_path / "a.npz")
    assert arrays.keys() == {"accuracy/own", "labels"}
    assert arrays["accuracy/own"].tolist() == [[1, 0], [0, 1]]


def test_an_absent_or_torn_file_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match=r"a\.npz is absent or torn"):
        read_arrays(path)
    write_arrays(path, {"x": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.npz is absent or torn"):
        read_arrays(path)


def test_a_damaged_array_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(1000)})
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        read_arrays(path)


def test_objects_are_no_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([object], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: Object arrays cannot be loaded"):
        read_arrays(tmp_path / "a.npz")
