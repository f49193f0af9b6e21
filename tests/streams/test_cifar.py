from __future__ import annotations

import hashlib
import http.server
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from image_files import random_images, write_parquet

from simo_cl.streams import (
    DataBrokenError,
    DataError,
    DataNotFoundError,
    check_data,
    fetch_data,
    load_data,
)


def _write_both(folder: Path, image_format: str = "PNG", label_column: str = "label") -> None:
    for split, count, seed in (("train", 6, 0), ("test", 3, 1)):
        write_parquet(
            folder / f"{split}.parquet",
            random_images(count, seed=seed),
            list(range(count)),
            image_format=image_format,
            label_column=label_column,
        )


@pytest.mark.parametrize("below", ["", "cifar10", "cifar10/plain_text"])
def test_lossless_parquet_is_read_pixel_by_pixel(tmp_path: Path, below: str) -> None:
    _write_both(tmp_path / below)
    data = load_data("cifar10", tmp_path)
    expected = torch.from_numpy(random_images(6)).permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected)
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(data.test) == 3
    assert data.note == "CIFAR-10"
    assert data.class_names[9] == "truck"


def test_lossy_parquet_is_called_a_jpeg_copy(tmp_path: Path) -> None:
    _write_both(tmp_path, image_format="JPEG")
    assert load_data("cifar10", tmp_path).note == "CIFAR-10, JPEG copy"
    status = check_data(tmp_path)[1]
    assert status.found
    assert status.detail == "CIFAR-10, JPEG copy, Parquet, 6 + 3 images"


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    _write_both(tmp_path, label_column="fine_label")
    data = load_data("cifar100", tmp_path)
    assert data.num_classes == 100
    assert data.class_names == tuple(sorted(data.class_names))


def test_parquet_of_another_data_set_is_not_taken(tmp_path: Path) -> None:
    _write_both(tmp_path)
    with pytest.raises(DataNotFoundError, match="no column fine_label"):
        load_data("cifar100", tmp_path)


def test_parts_are_read_in_order_and_all_must_be_there(tmp_path: Path) -> None:
    _write_both(tmp_path)
    (tmp_path / "train.parquet").unlink()
    write_parquet(tmp_path / "train-00000-of-00002.parquet", random_images(2), [0, 1])
    with pytest.raises(DataBrokenError, match="1 of the 2 files"):
        load_data("cifar10", tmp_path)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", random_images(2), [2, 3])
    assert load_data("cifar10", tmp_path).train.labels.tolist() == [0, 1, 2, 3]


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    _write_both(tmp_path)
    (tmp_path / "test.parquet").write_bytes((tmp_path / "test.parquet").read_bytes()[:200])
    with pytest.raises(DataBrokenError, match=r"test\.parquet: not a readable Parquet file"):
        load_data("cifar10", tmp_path)
    status = check_data(tmp_path)[1]
    assert not status.found
    assert "test.parquet" in status.detail


def test_an_image_that_cannot_be_decoded_is_named_by_its_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _write_both(tmp_path)
    table = pq.read_table(tmp_path / "train.parquet")
    cells = table["img"].to_pylist()
    cells[4]["bytes"] = b"not an image"
    pq.write_table(pa.table({"img": cells, "label": table["label"]}), tmp_path / "train.parquet")
    with pytest.raises(DataBrokenError, match="row 4: not a readable image"):
        load_data("cifar10", tmp_path)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    _write_both(tmp_path)
    write_parquet(tmp_path / "train.parquet", random_images(2, size=28), [0, 1])
    with pytest.raises(DataBrokenError, match="row 0: the image is 28x28; expected 32x32"):
        load_data("cifar10", tmp_path)


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    _write_both(tmp_path)
    write_parquet(tmp_path / "train.parquet", random_images(2), [0.0, 1.7])
    with pytest.raises(DataBrokenError, match=r"'label' holds double; expected whole numbers"):
        load_data("cifar10", tmp_path)


def test_a_label_without_a_class_is_refused(tmp_path: Path) -> None:
    _write_both(tmp_path)
    write_parquet(tmp_path / "train.parquet", random_images(2), [0, 10])
    with pytest.raises(DataBrokenError, match="labels run from 0 to 10"):
        load_data("cifar10", tmp_path)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive in the original's layout, which torchvision believes to be the original."""
    folder = tmp_path / "made" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: dict) -> list[str]:
        encoded = pickle.dumps(content)
        (folder / name).write_bytes(encoded)
        return [name, hashlib.md5(encoded).hexdigest()]

    pixels = random_images(4).transpose(0, 3, 1, 2).reshape(4, -1)
    train = [write("data_batch_1", {"data": pixels, "labels": [3, 2, 1, 0]})]
    test = [write("test_batch", {"data": pixels[:2], "labels": [5, 9]})]
    _, meta_digest = write("batches.meta", {"label_names": list("abcdefghij")})
    file = tmp_path / "made" / "small.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, folder.name)
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", train)
    monkeypatch.setattr(cifar, "test_list", test)
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": meta_digest})
    monkeypatch.setattr(cifar, "filename", file.name)
    monkeypatch.setattr(cifar, "tgz_md5", hashlib.md5(file.read_bytes()).hexdigest())
    return file


@pytest.fixture
def served(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent))
    )
    url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("served")
def test_fetched_data_are_found_and_read(tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert fetch_data("cifar10", root) == root / "cifar-10-batches-py"
    data = load_data("cifar10", root)
    assert np.array_equal(data.train.images.permute(0, 2, 3, 1).numpy(), random_images(4))
    assert data.test.labels.tolist() == [5, 9]
    assert data.note == "CIFAR-10"
    assert check_data(root)[1].detail == "as torchvision downloads it"


def test_damaged_torchvision_files_are_refused(archive: Path) -> None:
    root = archive.parent
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataBrokenError, match="incomplete or damaged") as error:
        load_data("cifar10", root)
    assert "as in the original: data_batch_1. Copy" in str(error.value)


@pytest.mark.usefixtures("served")
def test_damaged_files_are_mended_without_deleting_any(archive: Path) -> None:
    root = archive.parent
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    fetch_data("cifar10", root)
    assert len(load_data("cifar10", root).train) == 4


def test_an_archive_that_is_there_needs_unpacking(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(DataNotFoundError, match=r"tar\.gz is there; this unpacks it: simo-cl data"):
        load_data("cifar10", tmp_path)
    assert "tar.gz is there" in check_data(tmp_path)[1].detail


@pytest.mark.usefixtures("archive")
def test_a_server_that_does_not_answer_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:1/small.tar.gz")
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch_data("cifar10", tmp_path / "data")
