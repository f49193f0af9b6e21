from __future__ import annotations

import copy
import gc
import pickle
import warnings
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_forked
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from simo_cl.streams import DataSet, Images
from simo_cl.streams import image_store as image_store_module
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.streams.image_store import ImageStore, image_store

AUGMENT = ["crop", "flip"]


def random_data(seed: int = 0, count: int = 12, size: int = 8) -> DataSet:
    """3 classes in turn; images of 2 channels of random pixels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2 * count, 2, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 3
    train, test = Images(pixels[:count], labels), Images(pixels[count:], labels)
    return DataSet("random", train, test, tuple("abc"), "random")


def normalized(images: Tensor, data: DataSet) -> Tensor:
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (data.mean, data.std))
    return (images / 255 - mean) / std


class TestBatch:
    def test_gathers_and_normalizes(self) -> None:
        data = random_data()
        rows = [7, 0, 11, 7]
        images, labels = image_store(data, "train", AUGMENT).batch(rows, "eval")
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        torch.testing.assert_close(images, normalized(data.train.images[rows], data))
        assert labels.tolist() == [1, 0, 2, 1]

    @pytest.mark.parametrize("rows", [np.array([3, 5]), torch.tensor([3, 5]), range(3, 7, 2)])
    def test_takes_rows_in_any_form(self, rows: object) -> None:
        store = image_store(random_data(), "test")
        images, labels = store.batch(rows, "train")
        assert torch.equal(images, store.batch([3, 5], "train")[0])
        assert labels.tolist() == [0, 2]

    def test_test_images_have_the_normalization_of_the_training_images(self) -> None:
        data = random_data()
        images, _ = image_store(data, "test").batch(range(12), "eval")
        torch.testing.assert_close(images, normalized(data.test.images, data))

    def test_a_normalization_of_ones_own(self) -> None:
        data = random_data()
        store = image_store(data, "train", normalization=((0, 0), (1, 1)))
        images, _ = store.batch(range(12), "eval")
        torch.testing.assert_close(images, data.train.images / 255)

    def test_repeated_rows_are_augmented_independently(self) -> None:
        torch.manual_seed(0)
        images, labels = image_store(random_data(), "train", AUGMENT).batch([4] * 30, "train")
        looks = {image.numpy().tobytes() for image in images}
        # 18 different crops and flips of an 8 x 8 image.
        assert 10 < len(looks) <= 18
        assert labels.tolist() == [1] * 30

    def test_an_unknown_augmentation_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'spin' does not exist"):
            image_store(random_data(), "train", ["spin"])

    def test_a_raw_image_is_that_of_the_data(self) -> None:
        data = random_data()
        assert torch.equal(image_store(data, "train").raw(5), data.train.images[5])


class TestName:
    def test_copies_and_pickles_are_the_store_itself(self) -> None:
        store = image_store(random_data(), "train", AUGMENT)
        assert copy.copy(store) is store
        assert copy.deepcopy({"of": [store]})["of"][0] is store
        assert pickle.loads(pickle.dumps(store)) is store

    def test_pickles_are_small_whatever_the_number_of_images(self) -> None:
        store = image_store(random_data(count=1000), "train")
        assert len(pickle.dumps(store)) < 200

    def test_the_same_data_are_loaded_once(self) -> None:
        first = image_store(random_data(), "train", AUGMENT)
        assert image_store(random_data(), "train", AUGMENT) is first

    def test_a_store_of_the_same_data_takes_nothing_with_it_when_it_goes(self) -> None:
        data = random_data(seed=5)
        first, second = image_store(data, "train"), image_store(data, "train")
        del first
        gc.collect()
        assert pickle.loads(pickle.dumps(second)) is second

    def test_stores_that_differ_never_answer_for_each_other(self) -> None:
        """Also where a single pixel differs, the last one of many images."""
        data = random_data(count=999)
        pixel = data.train.images.clone()
        pixel[-1, -1, -1, -1] ^= 1
        label = data.train.labels.clone()
        label[-1] = 0
        assert label[-1] != data.train.labels[-1]
        others = [
            DataSet("random", Images(pixel, data.train.labels), data.test, tuple("abc"), "random"),
            DataSet("random", Images(data.train.images, label), data.test, tuple("abc"), "random"),
        ]
        statistics = data.mean, data.std
        stores = [
            image_store(data, "train"),
            image_store(data, "train", ["flip"]),
            image_store(data, "train", ["flip", "crop"]),
            image_store(data, "train", ["crop", "flip"]),
            image_store(data, "train", normalization=((0, 0), (1, 1))),
            image_store(data, "train", device="meta"),
            image_store(data, "test"),
            *(image_store(other, "train", normalization=statistics) for other in others),
        ]
        assert len({store.name for store in stores}) == len(stores)
        assert all(pickle.loads(pickle.dumps(store)) is store for store in stores)

    def test_another_process_finds_it_once_it_has_loaded_the_same_data(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "store"
        store = image_store(random_data(), "train", AUGMENT)
        file.write_bytes(pickle.dumps(store))
        result = run_forked(find_after_loading, file)
        assert result.stdout.strip() == (
            f"the images {store.name} are not loaded in this process. What was unpickled refers to "
            "them; make the same stream or resident data set first, with the same data, "
            "augmentations and device, and keep it"
        )
        assert result.returncode == 0, result.stderr


def find_after_loading(file: Path) -> None:
    """In another process, tells why a pickled store is not found there yet, and finds it."""
    pickled = file.read_bytes()
    with pytest.raises(RuntimeError) as refused:
        pickle.loads(pickled)
    print(refused.value)
    store = image_store(random_data(), "train", AUGMENT)
    assert pickle.loads(pickled) is store


class TestOtherProcesses:
    @pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
    def test_workers_read_it_however_they_are_started(self, start_method: str) -> None:
        data = random_data()
        collate = partial(image_store(data, "train", AUGMENT).batch, group="eval")
        loader = DataLoader(
            range(12), 4, collate_fn=collate, num_workers=1, multiprocessing_context=start_method
        )
        batches = list(loader)
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        torch.testing.assert_close(images, normalized(data.train.images, data))
        assert torch.equal(labels, data.train.labels)

    def test_it_is_sent_in_shared_memory(self) -> None:
        store = image_store(random_data(count=1000), "train")
        assert not store._images.is_shared()
        assert len(ForkingPickler.dumps(store)) < 5000
        assert store._images.is_shared()

    def test_another_device_is_refused_before_a_process_is_started(self) -> None:
        store = image_store(random_data(), "train", device="meta")
        with pytest.raises(RuntimeError, match=r"images are on meta, which .*num_workers=0"):
            ForkingPickler.dumps(store)


class RefuseCopiesToTheHost(TorchDispatchMode):
    """Fake tensors let values be copied to the host; this does not."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.device.type == "cpu":
            for arg in args:
                if isinstance(arg, Tensor) and arg.device.type != "cpu":
                    raise AssertionError(f"{func} copies from {arg.device} to the host")
        return out


def fake_store(count: int) -> ImageStore:
    """On a CUDA device that need not be there; to be called where tensors are fake."""
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    labels = torch.zeros(count, dtype=torch.int64)
    names = ["crop", "flip", "color_jitter", "grayscale", "resized_crop"]
    transforms = {
        group: BatchTransform(names, size=32, mean=[0.5] * 3, std=[0.2] * 3)
        for group in ("train", "eval")
    }
    return ImageStore(f"{count} zeros", images, labels, transforms, "cuda")


class TestDevice:
    def test_on_the_meta_device(self) -> None:
        store = image_store(random_data(), "train", [*AUGMENT, "resized_crop"], device="meta")
        images, labels = store.batch([5, 0, 5], "train")
        assert images.device.type == labels.device.type == "meta"
        assert images.shape == (3, 2, 8, 8)
        assert images.dtype == torch.float32
        assert store.labels.tolist() == [0, 1, 2] * 4

    def test_a_batch_never_waits_for_a_cuda_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_store_module, "free_memory", lambda device: 2**30)
        with FakeTensorMode():
            store = fake_store(100)
            with RefuseCopiesToTheHost():
                images, labels = store.batch(np.array([5, 99, 5]), "train")
        assert images.device.type == labels.device.type == "cuda"
        assert images.shape == (3, 3, 32, 32)

    def test_images_that_fit_are_on_the_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_store_module, "free_memory", lambda device: 2**30)
        with FakeTensorMode(), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fake_store(1000)._images.device.type == "cuda"

    def test_images_that_do_not_fit_stay_on_the_host_with_a_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_store_module, "free_memory", lambda device: 3 * 2**20)
        with FakeTensorMode():
            message = "1000 images take 3 MiB, but cuda has 3 MiB free: they stay in host memory"
            with pytest.warns(UserWarning, match=message):
                store = fake_store(1000)
            assert store._images.device.type == "cpu"
            with RefuseCopiesToTheHost():
                images, labels = store.batch([5, 999], "train")
            assert images.device.type == labels.device.type == "cuda"

    def test_a_worker_process_refuses_another_device_than_the_cpu(self) -> None:
        store = image_store(random_data(), "train", device="meta")
        collate = partial(store.batch, group="eval")
        # A process that is not forked is refused before it starts.
        loader = DataLoader(
            range(4), num_workers=1, collate_fn=collate, multiprocessing_context="fork"
        )
        with pytest.raises(RuntimeError, match=r"images are on meta, which .*num_workers=0"):
            next(iter(loader))
