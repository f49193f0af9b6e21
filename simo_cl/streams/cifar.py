"""CIFAR-10 and CIFAR-100, as torchvision downloads them or as hub-style Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simo_cl.streams import parquet
from simo_cl.streams.data_set import DataBrokenError, DataNotFoundError, DataSet, Images
from simo_cl.streams.torchvision_download import download

if TYPE_CHECKING:
    import torchvision.datasets

_SIZE = 32


@dataclass(frozen=True)
class CIFARSource:
    """One of the two data sets.

    Args:
        name: the data source's name.
        title: its name in prose.
        class_name: of torchvision's class.
        archive: the file that torchvision downloads.
        extracted: the folder that torchvision extracts to.
        label_column: the labels' column in hub-style Parquet.
        class_names: in the order of the labels.
    """

    name: str
    title: str
    class_name: str
    archive: str
    extracted: str
    label_column: str
    class_names: tuple[str, ...]

    @property
    def how_to_get(self) -> str:
        return f"simo-cl data fetch {self.name} (170 MB)"

    def load(self, root: Path) -> DataSet:
        """50,000 training and 10,000 test images, 3 x 32 x 32."""
        folder, is_parquet = self._folder(root)
        read = self._read_parquet if is_parquet else self._read_torchvision
        return DataSet(
            self.name,
            read(folder, "train"),
            read(folder, "test"),
            self.class_names,
            self._note(folder, is_parquet),
        )

    def find(self, root: Path) -> tuple[str, str]:
        folder, is_parquet = self._folder(root)
        if is_parquet:
            rows = [parquet.count_rows(parquet.parquet_files(folder, s)) for s in ("train", "test")]
            note = self._note(folder, is_parquet)
            return str(folder), f"{note}, Parquet, {rows[0]} + {rows[1]} images"
        self._torchvision(folder, "test")
        return str(folder / self.extracted), "as torchvision downloads it"

    def fetch(self, root: Path) -> Path:
        download(self.title, self.class_name, root)
        return root / self.extracted

    def _folder(self, root: Path) -> tuple[Path, bool]:
        """The folder that holds the data, and whether they are Parquet."""
        # Hubs keep CIFAR-10's files in a folder plain_text, CIFAR-100's in one named for it.
        candidates = [root, root / self.name, root / self.name / "plain_text"]
        remark = ""
        for folder in candidates:
            if (folder / self.extracted).is_dir():
                return folder, False
            archive = folder / self.archive
            if archive.is_file():
                remark = (
                    f"{archive} is there; this unpacks it: simo-cl data fetch {self.name} "
                    f"--data-root {folder}"
                )
            train, test = (parquet.parquet_files(folder, split) for split in ("train", "test"))
            if train and test:
                # The root may hold the files of another data set.
                missing = {parquet.IMAGE_COLUMN, self.label_column} - set(parquet.columns(train))
                if not missing:
                    return folder, True
                remark = f"{train[0]} is not it: it has no column {', '.join(sorted(missing))}."
        looked_for = f"{self.extracted}/ or train*.parquet with test*.parquet"
        raise DataNotFoundError(self.name, looked_for, candidates, self.how_to_get, remark)

    def _note(self, folder: Path, is_parquet: bool) -> str:
        lossy = is_parquet and parquet.is_jpeg(parquet.parquet_files(folder, "train"))
        return f"{self.title}, JPEG copy" if lossy else self.title

    def _read_parquet(self, folder: Path, split: str) -> Images:
        return parquet.read_images(
            parquet.parquet_files(folder, split), self.label_column, size=_SIZE
        )

    def _read_torchvision(self, folder: Path, split: str) -> Images:
        import torch

        read = self._torchvision(folder, split)
        images = torch.from_numpy(read.data).permute(0, 3, 1, 2).contiguous()
        return Images(images, torch.tensor(read.targets, dtype=torch.int64))

    def _torchvision(self, folder: Path, split: str) -> torchvision.datasets.CIFAR10:
        import torchvision.datasets
        from torchvision.datasets.utils import check_integrity

        kind = getattr(torchvision.datasets, self.class_name)
        try:
            return kind(str(folder), train=split == "train")
        except (OSError, RuntimeError) as error:
            extracted = folder / self.extracted
            originals = [*kind.train_list, *kind.test_list]
            wrong = [name for name, md5 in originals if not check_integrity(extracted / name, md5)]
            raise DataBrokenError(
                f"{extracted}: {self.title} is incomplete or damaged; missing or not as in the "
                f"original: {', '.join(wrong) or error}. Copy these again, or run: "
                f"simo-cl data fetch {self.name} --data-root {folder}"
            ) from error


_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"

CIFAR10 = CIFARSource(
    name="cifar10",
    title="CIFAR-10",
    class_name="CIFAR10",
    archive="cifar-10-python.tar.gz",
    extracted="cifar-10-batches-py",
    label_column="label",
    class_names=tuple(_CIFAR10_CLASSES.split()),
)
CIFAR100 = CIFARSource(
    name="cifar100",
    title="CIFAR-100",
    class_name="CIFAR100",
    archive="cifar-100-python.tar.gz",
    extracted="cifar-100-python",
    label_column="fine_label",
    class_names=tuple(_CIFAR100_CLASSES.split()),
)
