"""MNIST and Fashion-MNIST as torchvision downloads them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import torchvision.datasets

from simo_cl.streams.data_set import DataBrokenError, DataNotFoundError, DataSet, Images
from simo_cl.streams.torchvision_download import download


@dataclass(frozen=True)
class MNISTSource:
    """One of the data sets in MNIST's file format.

    Args:
        name: the data source's name.
        title: its name in prose.
        dataset: torchvision's class.
    """

    name: str
    title: str
    dataset: type[torchvision.datasets.MNIST]

    @property
    def how_to_get(self) -> str:
        return f"simo-cl data fetch {self.name}"

    def load(self, root: Path) -> DataSet:
        """60,000 training and 10,000 test images, 1 x 28 x 28."""
        folder = self._folder(root)
        train, test = (self._read(folder, train=is_train) for is_train in (True, False))
        return DataSet(
            self.name,
            Images(train.data[:, None], train.targets),
            Images(test.data[:, None], test.targets),
            tuple(self.dataset.classes),
            self.title,
        )

    def find(self, root: Path) -> tuple[str, str]:
        folder = self._folder(root)
        return str(folder / self.dataset.__name__ / "raw"), "as torchvision downloads it"

    def fetch(self, root: Path) -> Path:
        download(self.title, self.dataset, root)
        return root / self.dataset.__name__ / "raw"

    def _folder(self, root: Path) -> Path:
        """The folder that torchvision calls the root."""
        candidates = [root, root / self.name]
        for folder in candidates:
            if (folder / self.dataset.__name__ / "raw").is_dir():
                return folder
        raise DataNotFoundError(
            self.name,
            f"{self.dataset.__name__}/raw (as torchvision downloads it)",
            candidates,
            self.how_to_get,
        )

    def _read(self, folder: Path, train: bool) -> torchvision.datasets.MNIST:
        try:
            return self.dataset(str(folder), train=train)
        # torchvision asserts while it reads a file whose header is wrong.
        except (OSError, RuntimeError, ValueError, AssertionError, gzip.BadGzipFile) as error:
            raise DataBrokenError(
                f"{folder / self.dataset.__name__ / 'raw'}: {self.title} is incomplete or damaged "
                f"({error or type(error).__name__}). Delete the folder and run: {self.how_to_get}"
            ) from error


MNIST = MNISTSource("mnist", "MNIST", torchvision.datasets.MNIST)
FASHION_MNIST = MNISTSource("fashion_mnist", "Fashion-MNIST", torchvision.datasets.FashionMNIST)
