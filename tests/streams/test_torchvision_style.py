from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from avalanche.benchmarks import class_incremental_benchmark
from image_files import write_idx
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from simo_cl.streams import DataBrokenError
from simo_cl.streams.resident import ResidentDataset, resident_dataset
from simo_cl.streams.torchvision_style import images_of


class Pictures:
    """As torchvision's CIFAR and MNIST: pictures by number, and as arrays."""

    transform = None
    target_transform = None

    def __init__(self, data: Any, targets: Any) -> None:
        self.data = data
        self.targets = targets

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(np.asarray(self.data[index])), int(self.targets[index])


class Listed:
    """Only pictures by number."""

    def __init__(self, samples: list[tuple[Any, Any]]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.samples[index]


def random_pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


COLOUR = random_pixels(6, 8, 8, 3)
GREY = random_pixels(6, 8, 8)
LABELS = [0, 1, 2, 2, 1, 0]
COLOUR_FIRST = torch.from_numpy(COLOUR).permute(0, 3, 1, 2)


def whole(dataset: ResidentDataset) -> Tensor:
    return dataset.store.batch(dataset.rows, dataset.group)[0]


class TestTorchvisionStyle:
    @pytest.mark.parametrize(
        ("dataset", "pixels"),
        [
            pytest.param(Pictures(COLOUR, LABELS), COLOUR_FIRST, id="as CIFAR"),
            pytest.param(
                Pictures(torch.from_numpy(GREY), torch.tensor(LABELS)),
                torch.from_numpy(GREY)[:, None],
                id="as MNIST",
            ),
            pytest.param(
                Listed([(Image.fromarray(p), y) for p, y in zip(COLOUR, LABELS, strict=True)]),
                COLOUR_FIRST,
                id="colour pictures",
            ),
            pytest.param(
                Listed([(Image.fromarray(p), y) for p, y in zip(GREY, LABELS, strict=True)]),
                torch.from_numpy(GREY)[:, None],
                id="grey pictures",
            ),
            pytest.param(
                Listed(
                    [
                        (Image.fromarray(p.astype(np.uint16) * 257), y)
                        for p, y in zip(GREY, LABELS, strict=True)
                    ]
                ),
                torch.from_numpy(GREY)[:, None],
                id="16-bit grey pictures",
            ),
            pytest.param(
                Listed(list(zip(COLOUR, map(np.int64, LABELS), strict=True))),
                COLOUR_FIRST,
                id="arrays",
            ),
            pytest.param(
                TensorDataset(COLOUR_FIRST, torch.tensor(LABELS)), COLOUR_FIRST, id="tensors"
            ),
            pytest.param(
                ConcatDataset(
                    [
                        Subset(Pictures(COLOUR, LABELS), [0, 1]),
                        Subset(Pictures(COLOUR, LABELS), range(2, 6)),
                    ]
                ),
                COLOUR_FIRST,
                id="parts",
            ),
        ],
    )
    def test_images_and_labels_are_those_of_the_data_set(
        self, dataset: Any, pixels: Tensor
    ) -> None:
        ours = resident_dataset(dataset)
        assert type(ours) is ResidentDataset
        assert list(ours.targets) == LABELS
        for row, image in enumerate(pixels):
            assert torch.equal(ours.store.raw(row), image)
        images = whole(ours)
        torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(pixels.shape[1]))
        torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(pixels.shape[1]))

    def test_arrays_with_the_channels_first_are_read_by_number(self) -> None:
        """The data set itself knows how its array becomes a picture."""

        class ChannelsFirst(Pictures):
            def __getitem__(self, index: int) -> tuple[Image.Image, int]:
                return Image.fromarray(self.data[index].transpose(1, 2, 0)), self.targets[index]

        ours = resident_dataset(ChannelsFirst(COLOUR_FIRST.numpy(), LABELS))
        assert torch.equal(ours.store.raw(5), COLOUR_FIRST[5])

    def test_an_image_folder(self, tmp_path: Path) -> None:
        for index, (pixels, label) in enumerate(zip(COLOUR, LABELS, strict=True)):
            folder = tmp_path / f"class {label}"
            folder.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index}.png")
        ours = resident_dataset(torchvision.datasets.ImageFolder(tmp_path))
        assert list(ours.targets) == [0, 0, 1, 1, 2, 2]
        assert torch.equal(ours.store.raw(1), COLOUR_FIRST[5])

    @pytest.mark.parametrize("is_part", [False, True])
    def test_an_image_folder_of_16_bit_pictures(self, tmp_path: Path, is_part: bool) -> None:
        for index, pixels in enumerate(GREY):
            (tmp_path / "class").mkdir(exist_ok=True)
            deep = Image.fromarray(pixels.astype(np.uint16) * 257)
            deep.save(tmp_path / "class" / f"{index}.png")
        clipped = torchvision.datasets.ImageFolder(tmp_path)
        with pytest.raises(DataBrokenError, match=r"0\.png: its mode is 'I.*loader=PIL.Image.open"):
            resident_dataset(Subset(clipped, [1, 2]) if is_part else clipped)
        ours = resident_dataset(torchvision.datasets.ImageFolder(tmp_path, loader=Image.open))
        assert torch.equal(ours.store.raw(3), torch.from_numpy(GREY[3])[None])

    def test_torchvisions_cifar(self, tmp_path: Path) -> None:
        class TinyCIFAR10(torchvision.datasets.CIFAR10):
            base_folder = "tiny"
            train_list = [("batch", None)]  # noqa: RUF012
            test_list = []  # noqa: RUF012
            meta = {"filename": "meta", "key": "names", "md5": None}  # noqa: RUF012

        pixels = random_pixels(6, 3, 32, 32)
        batch_of_file = {"data": pixels.reshape(6, -1), "labels": LABELS}
        for name, content in {"batch": batch_of_file, "meta": {"names": list("abc")}}.items():
            file = tmp_path / "tiny" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(pickle.dumps(content))
        ours = resident_dataset(TinyCIFAR10(tmp_path))
        assert list(ours.targets) == LABELS
        assert torch.equal(ours.store.raw(4), torch.from_numpy(pixels[4]))

    def test_torchvisions_mnist(self, tmp_path: Path) -> None:
        folder = tmp_path / "MNIST" / "raw"
        for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
            write_idx(folder / name, GREY)
        for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
            write_idx(folder / name, np.array(LABELS))
        ours = resident_dataset(torchvision.datasets.MNIST(tmp_path))
        assert list(ours.targets) == LABELS
        assert torch.equal(ours.store.raw(4), torch.from_numpy(GREY[4])[None])

    def test_test_data_take_the_training_datas_normalization(self) -> None:
        train = resident_dataset(Pictures(COLOUR, LABELS), augment=["flip"])
        test = resident_dataset(
            Pictures(COLOUR[:3], LABELS[:3]), normalization=train.normalization, group="eval"
        )
        assert test.normalization == train.normalization
        assert torch.equal(whole(test), whole(train.eval())[:3])
        assert test.group == "eval"
        benchmark = class_incremental_benchmark({"train": train, "test": test}, num_experiences=3)
        assert len(benchmark.train_stream) == 3

    def test_augments_only_the_training_group(self) -> None:
        torch.manual_seed(0)
        ours = resident_dataset(Pictures(COLOUR, LABELS), augment=["flip"]).subset([0] * 20)
        assert len({image.numpy().tobytes() for image in whole(ours)}) == 2
        assert len({image.numpy().tobytes() for image in whole(ours.eval())}) == 1

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("order", [np.s_[::-1], np.s_[..., ::-1]], ids=["turned", "BGR"])
    def test_arrays_may_be_read_backwards_and_only_read(self, order: Any) -> None:
        pixels, labels = COLOUR[order], np.array(LABELS)[::-1]
        pixels.flags.writeable = False
        images = images_of(Pictures(pixels, labels))
        assert np.array_equal(images.images.permute(0, 2, 3, 1), pixels)
        assert images.labels.tolist() == LABELS[::-1]

    @pytest.mark.parametrize("name", ["transform", "target_transform", "transforms"])
    @pytest.mark.parametrize("part", [False, True], ids=["itself", "of a part"])
    def test_transforms_are_refused(self, name: str, part: bool) -> None:
        dataset: Any = Pictures(COLOUR, LABELS)
        setattr(dataset, name, str)
        if part:
            dataset = ConcatDataset([Pictures(COLOUR, LABELS), Subset(dataset, [0, 1])])
        with pytest.raises(ValueError, match=f"the data set has a {name}; make it without"):
            resident_dataset(dataset)

    @pytest.mark.parametrize(
        ("dataset", "message"),
        [
            (Listed([]), "the data set has no sample"),
            (Pictures(COLOUR[:0], []), "the data set has no sample"),
            (Pictures(COLOUR / 255, LABELS), r"pixels are torch.float64; expected uint8"),
            (Listed([(torch.rand(3, 8, 8), 0)]), r"sample 0 is torch.float32 \(3, 8, 8\)"),
            (Listed([(torch.zeros(8, dtype=torch.uint8), 0)]), r"sample 0 is torch.uint8 \(8,\)"),
            (
                Listed([(COLOUR[0], 0), (COLOUR[1, :4], 1)]),
                r"pictures have 2 shapes .*\(3, 4, 8\), \(3, 8, 8\).*one size",
            ),
            (Pictures(COLOUR[:, :4], LABELS), "expected square uint8"),
            (Pictures(COLOUR, LABELS[:5]), "labels are torch.int64"),
            (Pictures(COLOUR, [-1, *LABELS[1:]]), "labels run from -1 to 2"),
            (Pictures(COLOUR, [0.5, *LABELS[1:]]), "labels are float64; expected integers"),
            (Pictures(COLOUR, list("aabbcc")), "labels are <U1; expected integers"),
            (
                Listed([(Image.fromarray(GREY[0].astype(np.float32)), 0)]),
                "sample 0: its mode is 'F', .*Save it with 8 bits",
            ),
            (
                Listed([(Image.fromarray(GREY[0]).convert("P"), 0)]),
                "sample 0 has the mode 'P'.*convert",
            ),
        ],
    )
    def test_data_that_cannot_be_read_are_named(self, dataset: Any, message: str) -> None:
        with pytest.raises(DataBrokenError, match=message):
            resident_dataset(dataset)

    def test_bad_arguments_are_refused(self) -> None:
        dataset = Pictures(COLOUR, LABELS)
        with pytest.raises(ValueError, match="'spin' does not exist"):
            resident_dataset(dataset, augment=["spin"])
        with pytest.raises(ValueError, match="no transform group 'test'"):
            resident_dataset(dataset, group="test")
        with pytest.raises(
            ValueError, match=r"normalization has 1 means and 1 standard deviations.*3 channels"
        ):
            resident_dataset(dataset, normalization=((0.5,), (0.5,)))
