from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import encode, random_images

from simo_cl.streams import DataBrokenError, DataNotFoundError, check_data, load_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        for seed, name in enumerate(("cat", "bird")):
            (tmp_path / split / name).mkdir(parents=True)
            for number, image in enumerate(random_images(count, size=16, seed=seed)):
                (tmp_path / split / name / f"{number}.png").write_bytes(encode(image))
    return tmp_path


def test_reads_classes_in_alphabetical_order(folder: Path) -> None:
    data = load_data("image_folder", folder)
    assert data.class_names == ("bird", "cat")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.size == 16
    expected = torch.from_numpy(random_images(3, size=16, seed=1)).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images[:3], expected)
    (status,) = [status for status in check_data(folder) if status.name == "image_folder"]
    assert status.detail == "2 classes, 6 + 4 images"


def test_grey_images_become_rgb(folder: Path) -> None:
    grey = random_images(1, size=16, channels=1)[0, ..., 0]
    (folder / "train" / "bird" / "0.png").write_bytes(encode(grey))
    image = load_data("image_folder", folder).train.images[0]
    assert torch.equal(image, torch.from_numpy(grey).expand(3, 16, 16))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_images_keep_their_grey_levels(folder: Path, image_format: str) -> None:
    grey = random_images(1, size=16, channels=1)[0, ..., 0]
    deep = encode(grey.astype(np.uint16) * 257, image_format)
    (folder / "train" / "bird" / "0.png").write_bytes(deep)
    image = load_data("image_folder", folder).train.images[0]
    assert torch.equal(image, torch.from_numpy(grey).expand(3, 16, 16))


def test_an_image_without_a_known_range_is_named(folder: Path) -> None:
    floats = np.zeros((16, 16), np.float32)
    (folder / "test" / "cat" / "0.tiff").write_bytes(encode(floats, "TIFF"))
    with pytest.raises(DataBrokenError, match=r"cat/0\.tiff: its mode is 'F', .*Save it with 8"):
        load_data("image_folder", folder)


def test_says_how_many_files_of_which_kind_are_left_out(folder: Path) -> None:
    image = encode(random_images(1, size=16)[0])
    for name in ("cat/5.gif", "cat/6.GIF", "cat/more/7.png", "8.png", "bird/README", "cat/.hidden"):
        file = folder / "train" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(image)
    expected = (
        "left out: 2 .gif, 1 .png beside the folders of the classes, "
        "1 .png in sub-folders of a class, 1 without ending (read are "
    )
    with pytest.warns(UserWarning, match=f"{folder}: {expected}".replace("(", r"\(")) as warned:
        data = load_data("image_folder", folder)
    assert warned[0].filename == __file__
    assert len(data.train) == 6
    (status,) = [status for status in check_data(folder) if status.name == "image_folder"]
    assert status.detail.startswith(f"2 classes, 6 + 4 images; {expected}")


def test_hidden_files_and_folders_are_the_systems(folder: Path, recwarn: object) -> None:
    for name in ("train/cat/._0.png", "train/.checkpoints/0.png", "test/cat/.thumbs/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    data = load_data("image_folder", folder)
    assert (data.class_names, len(data.train), len(data.test)) == (("bird", "cat"), 6, 4)
    (status,) = [status for status in check_data(folder) if status.name == "image_folder"]
    assert status.detail == "2 classes, 6 + 4 images"
    assert not recwarn


def test_images_of_different_size_are_both_named(folder: Path) -> None:
    (folder / "train" / "cat" / "1.png").write_bytes(encode(random_images(1, size=8)[0]))
    with pytest.raises(DataBrokenError, match=r"cat/1\.png is 8x8, but .*bird/0\.png is 16x16"):
        load_data("image_folder", folder)


def test_an_image_that_is_not_square_is_named(folder: Path) -> None:
    (folder / "train" / "bird" / "0.png").write_bytes(encode(random_images(1, size=8)[0, :6]))
    with pytest.raises(DataBrokenError, match=r"bird/0\.png is 8x6"):
        load_data("image_folder", folder)


def test_a_class_without_an_image_is_named(folder: Path) -> None:
    for file in (folder / "test" / "cat").iterdir():
        file.unlink()
    with pytest.raises(DataBrokenError, match="the class 'cat' has no image"):
        load_data("image_folder", folder)


def test_classes_must_be_the_same_in_both_splits(folder: Path) -> None:
    (folder / "test" / "dog").mkdir()
    with pytest.raises(DataBrokenError, match=r"only in test: \['dog'\]"):
        load_data("image_folder", folder)


def test_a_damaged_image_is_named(folder: Path) -> None:
    (folder / "test" / "cat" / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataBrokenError, match=r"cat/1\.png: not a readable image"):
        load_data("image_folder", folder)


def test_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="train/<class>/"):
        load_data("image_folder", tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataBrokenError, match="no folder of a class"):
        load_data("image_folder", tmp_path)
