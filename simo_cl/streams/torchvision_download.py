"""Downloads by torchvision's data set classes."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import VisionDataset

from simo_cl.streams.data_set import DataError


def download(title: str, dataset: type[VisionDataset], root: Path) -> None:
    """Download below `root`; what is already there and whole is kept.

    Raises:
        DataError: no connection, a file that arrived broken, or a folder that cannot be written.
    """
    try:
        dataset(str(root), download=True)  # type: ignore[call-arg]  # every subclass has it
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{title}: could not be downloaded to {root} ({error}). Check the connection and the "
            "folder's permissions and space, or copy the data there from another machine."
        ) from error
