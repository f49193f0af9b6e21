from __future__ import annotations

from pathlib import Path

import pytest

from simo_cl.results import write_atomically, write_partial


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "früher")
    write_atomically(path, b"now")
    assert path.read_bytes() == b"now"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "before")

    def refuse(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_parts_wait_beside_their_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_partial(path, [b"a", memoryview(b"b")]).replace(path)
    assert path.read_bytes() == b"ab"
