from __future__ import annotations

from typing import Any

import pytest
from avalanche.benchmarks.scenarios import split_online_stream

from simo_cl.training.online_batches import batch_ends, small_experiences


@pytest.mark.parametrize(
    ("samples", "batch_size", "ends"),
    [
        (1, 10, [1]),
        (10, 10, [10]),
        (11, 10, [11]),
        (12, 10, [10, 12]),
        (21, 10, [10, 21]),
        (3, 1, [1, 2, 3]),
        (3, 2, [3]),
    ],
)
def test_a_lone_last_sample_joins_the_batch_before(
    samples: int, batch_size: int, ends: list[int]
) -> None:
    assert batch_ends(samples, batch_size) == ends


@pytest.mark.parametrize(("size", "sizes"), [(20, [20, 20, 8]), (16, [16, 16, 16])])
def test_small_experiences_are_avalanche_s(size: int, sizes: list[int], stream: Any) -> None:
    whole = stream.train_stream[0]
    ours = list(small_experiences(whole, size, seed=3))
    stock = list(split_online_stream([whole], size, seed=3))
    assert [len(part.dataset) for part in ours] == sizes
    for part, other in zip(ours, stock, strict=True):
        assert part.dataset.rows.tolist() == other.dataset.rows.tolist()
        assert part.sub_stream_length == len(sizes)
        assert part.origin_experience is whole
    assert [part.is_first_subexp for part in ours] == [True, *[False] * (len(sizes) - 1)]
    assert [part.is_last_subexp for part in ours] == [*[False] * (len(sizes) - 1), True]


def test_but_for_a_lone_last_sample(stream: Any) -> None:
    parts = list(small_experiences(stream.train_stream[0], 47, seed=0))
    assert [len(part.dataset) for part in parts] == [48]
