from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_files import random_images, write_idx

from simo_cl.streams import DataBrokenError, check_data, load_data


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "fashion_mnist" / "FashionMNIST" / "raw"
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = random_images(count, size=28, channels=1)[..., 0]
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", torch.arange(count).numpy())
    return folder


def test_reads_what_torchvision_downloads(tmp_path: Path, raw: Path) -> None:
    data = load_data("fashion_mnist", tmp_path)
    expected = torch.from_numpy(random_images(5, size=28, channels=1)).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected)
    assert data.test.labels.tolist() == [0, 1, 2]
    assert data.class_names[0] == "T-shirt/top"
    found = {status.name: status for status in check_data(tmp_path)}
    assert found["fashion_mnist"].where == str(raw)
    assert not found["mnist"].found


@pytest.mark.parametrize("content", [None, b"", b"\x00\x00\x08\x03"])
def test_a_missing_or_damaged_file_is_an_error(
    tmp_path: Path, raw: Path, content: bytes | None
) -> None:
    file = raw / "t10k-images-idx3-ubyte"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataBrokenError, match="Fashion-MNIST is incomplete or damaged"):
        load_data("fashion_mnist", tmp_path)
