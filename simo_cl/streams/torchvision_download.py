"""Downloads by torchvision's data set classes."""

from __future__ import annotations

from pathlib import Path

from simo_cl.streams.data_set import DataError


def download(title: str, class_name: str, root: Path) -> None:
    """Download below `root` by the class `class_name` of `torchvision.datasets`.

    What is already there and whole is kept.

    Raises:
        DataError: no connection, a file that arrived broken, or a folder that cannot be written.
    """
    import torchvision.datasets

    try:
        getattr(torchvision.datasets, class_name)(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{title}: could not be downloaded to {root} ({error}). Check the connection and the "
            "folder's permissions and space, or copy the data there from another machine."
        ) from error
