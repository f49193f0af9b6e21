from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import random_images, write_idx

from simo_cl.streams import DataBrokenError, DataNotFoundError, check_data, load_data

FASHION_LABELS = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9]


def write_files(
    folder: Path, *, packed: bool = False, mark: str = "-", labels: list[int] | None = None
) -> None:
    """Training images for the labels, five by default, and three test images."""
    train = list(range(5)) if labels is None else labels
    for part, classes in (("train", train), ("t10k", list(range(3)))):
        images = random_images(len(classes), size=28, channels=1)[..., 0]
        write_idx(folder / f"{part}-images{mark}idx3-ubyte", images)
        write_idx(folder / f"{part}-labels{mark}idx1-ubyte", np.array(classes))
    for file in folder.iterdir() if packed else ():
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "fashion_mnist" / "FashionMNIST" / "raw"
    write_files(folder)
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


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("mnist", ""),
        ("mnist", "MNIST/raw"),
        ("kmnist", "raw"),
        ("fashion_mnist", "fashion-mnist"),
        ("fashion_mnist", "FashionMNIST/raw"),
    ],
)
def test_reads_them_as_they_are_distributed(
    tmp_path: Path, name: str, below: str, packed: bool
) -> None:
    write_files(tmp_path / below, packed=packed, mark="-" if packed else ".")
    data = load_data(name, tmp_path)
    expected = torch.from_numpy(random_images(5, size=28, channels=1)).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected)
    assert data.test.labels.tolist() == [0, 1, 2]
    (status,) = [status for status in check_data(tmp_path) if status.name == name]
    assert (status.where, status.detail) == (str(tmp_path / below), "5 + 3 images")


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_files_of_another_of_them_are_not_taken(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, packed=True, labels=FASHION_LABELS)
    with pytest.raises(DataNotFoundError, match=f"{tmp_path} is not it: the labels there"):
        load_data(name, tmp_path)
    assert load_data("fashion_mnist", tmp_path).train.labels.tolist() == FASHION_LABELS


def test_nor_are_all_60000_of_an_unknown_one(tmp_path: Path) -> None:
    write_files(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(60_000))
    found = {status.name: status.found for status in check_data(tmp_path)}
    assert found["kmnist"]
    assert not found["mnist"]


def test_check_names_the_package_of_debian(tmp_path: Path) -> None:
    (status,) = [s for s in check_data(tmp_path) if s.name == "fashion_mnist"]
    assert "dataset-fashion-mnist with --data-root /usr/share/datasets" in status.detail


@pytest.mark.parametrize("content", [None, b"", b"\x00\x00\x08\x03", b"\x00\x00\x08\x00A"])
def test_a_missing_or_damaged_file_is_named(
    tmp_path: Path, raw: Path, content: bytes | None
) -> None:
    file = raw / "t10k-images-idx3-ubyte"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataBrokenError, match="Fashion-MNIST is incomplete or damaged") as error:
        load_data("fashion_mnist", tmp_path)
    assert file.name in str(error.value)
    assert "elete" not in str(error.value)


def test_a_packed_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, packed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataBrokenError, match=rf"{file}: MNIST is .*cannot be unpacked"):
        load_data("mnist", tmp_path)


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    write_files(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(4))
    with pytest.raises(DataBrokenError, match="t10k-images are 3, t10k-labels 4"):
        load_data("mnist", tmp_path)
