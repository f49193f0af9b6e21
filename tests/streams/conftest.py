from __future__ import annotations

import pytest
import torch

from simo_cl.streams import DataSet, Images


@pytest.fixture
def tiny_data() -> DataSet:
    """7 classes; class c has 10 + c training and 4 test images, 2 x 8 x 8, each image one level."""

    def images(counts: list[int]) -> Images:
        labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        levels = torch.arange(len(labels), dtype=torch.uint8)
        return Images(levels[:, None, None, None].expand(-1, 2, 8, 8).contiguous(), labels)

    return DataSet(
        "tiny", images([10 + c for c in range(7)]), images([4] * 7), tuple("abcdefg"), "tiny"
    )
