from __future__ import annotations

import torch

from simo_cl.streams import load_data


def test_digits_are_split_alike_every_time_with_every_class_on_both_sides() -> None:
    first, second = load_data("digits"), load_data("digits")
    assert torch.equal(first.train.images, second.train.images)
    assert (len(first.train), len(first.test)) == (1347, 450)
    assert first.train.labels.bincount().min() >= 130
    assert first.test.labels.bincount().min() >= 43
    assert (first.channels, first.size, first.num_classes) == (1, 8, 10)


def test_digits_use_the_whole_range_of_grey_levels() -> None:
    images = load_data("digits").train.images
    assert (int(images.min()), int(images.max())) == (0, 255)
