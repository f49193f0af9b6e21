"""scikit-learn's handwritten digits: real data that need no download."""

from __future__ import annotations

from pathlib import Path

from simo_cl.streams.data_set import DataSet, Images

_TEST_SHARE = 0.25
_WHITE = 16  # the digits' largest grey level


def load(root: Path) -> DataSet:
    """1,347 training and 450 test images, 1 x 8 x 8, always split alike; `root` is not used."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bundle = load_digits()
    images = torch.from_numpy(bundle.images).mul(255 / _WHITE).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bundle.target).long()
    train, test = train_test_split(
        torch.arange(len(labels)).numpy(),
        test_size=_TEST_SHARE,
        stratify=labels.numpy(),
        random_state=0,
    )
    return DataSet(
        name="digits",
        train=Images(images[train], labels[train]),
        test=Images(images[test], labels[test]),
        class_names=tuple(str(name) for name in bundle.target_names),
        note="scikit-learn digits",
    )


def find(root: Path) -> tuple[str, str]:
    return "scikit-learn", "bundled, 1347 + 450 images"
