"""MNIST and Fashion-MNIST as torchvision downloads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.streams.data_set import DataBrokenError, DataNotFoundError, DataSet, Images
from simo_cl.streams.torchvision_download import download

if TYPE_CHECKING:
    import torchvision.datasets


@dataclass(frozen=True)
class MNISTSource:
    """One of the data sets in MNIST's file format.

    Args:
        name: the data source's name.
        title: its name in prose.
        class_name: of torchvision's class and of the folder it downloads to.
    """

    name: str
    title: str
    class_name: str

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
            tuple(train.classes),
            self.title,
        )

    def find(self, root: Path) -> tuple[str, str]:
        folder = self._folder(root)
        self._read(folder, train=False)
        return str(folder / self.class_name / "raw"), "as torchvision downloads it"

    def fetch(self, root: Path) -> Path:
        download(self.title, self.class_name, root)
        return root / self.class_name / "raw"

    def _folder(self, root: Path) -> Path:
        """The folder that torchvision calls the root."""
        candidates = [root, root / self.name]
        for folder in candidates:
            if (folder / self.class_name / "raw").is_dir():
                return folder
        raise DataNotFoundError(
            self.name,
            f"{self.class_name}/raw (as torchvision downloads it)",
            candidates,
            self.how_to_get,
        )

    def _read(self, folder: Path, train: bool) -> torchvision.datasets.MNIST:
        import torchvision.datasets

        try:
            return getattr(torchvision.datasets, self.class_name)(str(folder), train=train)
        # torchvision asserts while it reads a file whose header is wrong.
        except (OSError, RuntimeError, ValueError, LookupError, AssertionError) as error:
            raise DataBrokenError(
                f"{folder / self.class_name / 'raw'}: {self.title} is incomplete or damaged "
                f"({error or type(error).__name__}). Delete the folder and run: {self.how_to_get}"
            ) from error


MNIST = MNISTSource("mnist", "MNIST", "MNIST")
FASHION_MNIST = MNISTSource("fashion_mnist", "Fashion-MNIST", "FashionMNIST")
