from __future__ import annotations

import pytest
import torch

from simo_cl.streams import DataSet, Images, load_data
from simo_cl.streams.class_incremental import ClassIncremental, class_incremental


@pytest.fixture(scope="session")
def six_digits() -> DataSet:
    """The digits 0 to 5: 24 training and 8 test images of each."""
    digits = load_data("digits")
    train, test = _first(digits.train, 6, 24), _first(digits.test, 6, 8)
    return DataSet("six digits", train, test, tuple("012345"), "six digits")


@pytest.fixture(scope="session")
def stream(six_digits: DataSet) -> ClassIncremental:
    """Three experiences of two classes with 48 training images, in the order of the labels."""
    return class_incremental(six_digits, experiences=3, seed=None)


def _first(images: Images, classes: int, samples_per_class: int) -> Images:
    rows = torch.cat(
        [(images.labels == c).nonzero().flatten()[:samples_per_class] for c in range(classes)]
    )
    return Images(images.images[rows], images.labels[rows])
