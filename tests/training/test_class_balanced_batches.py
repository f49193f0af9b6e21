from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simo_cl.training.class_balanced_batches import ClassBalancedBatches


def batches_of(
    new: list[int], old: list[int] | None = None, *, rounds: int = 1, **options: Any
) -> list[list[int]]:
    """Index lists of several passes; the arguments are numbers of samples by class."""
    sampler = sampler_of(new, old, **options)
    return [batch for _ in range(rounds) for batch in sampler]


def sampler_of(
    new: list[int], old: list[int] | None = None, *, seed: int = 0, **options: Any
) -> ClassBalancedBatches:
    defaults = {"batch_size": 16, "new_share": 0.5, "views": 1}
    return ClassBalancedBatches(
        labels_of(new),
        labels_of(old or [], first=len(new)),
        generator=np.random.default_rng(seed),
        **{**defaults, **options},
    )


def labels_of(counts: list[int], first: int = 0) -> list[int]:
    return [first + c for c, count in enumerate(counts) for _ in range(count)]


def classes_in(batch: list[int], new: list[int], old: list[int] | None = None) -> Counter:
    labels = labels_of(new) + labels_of(old or [], first=len(new))
    return Counter(labels[index] for index in batch)


def test_the_current_classes_have_the_whole_batch_while_there_is_no_memory():
    for batch in batches_of([30, 10]):
        assert classes_in(batch, [30, 10]) == {0: 8, 1: 8}


def test_the_current_classes_have_their_share_once_there_is_a_memory():
    for share, new_samples in ((0.5, 8), (0.25, 4), (0.75, 12)):
        for batch in batches_of([30, 30], [5, 5], new_share=share):
            counts = classes_in(batch, [30, 30], [5, 5])
            assert counts[0] == counts[1] == new_samples / 2
            assert counts[2] == counts[3] == (16 - new_samples) / 2


def test_many_old_classes_take_turns_in_pairs():
    """Half of a batch of 16 holds four pairs: four of ten classes, and no class a single sample."""
    new, old = [40, 40], [6] * 10
    batches = batches_of(new, old, rounds=5)
    appearances: Counter = Counter()
    for batch in batches:
        counts = classes_in(batch, new, old)
        assert len(counts) == 2 + 4
        assert all(counts[c] == 2 for c in counts if c >= 2)
        appearances.update(c for c in counts if c >= 2)
    assert len(batches) == 50
    assert len(appearances) == 10
    assert max(appearances.values()) - min(appearances.values()) <= 1


def test_the_rotation_starts_elsewhere_with_another_seed():
    assert batches_of([40, 40], [6] * 10) == batches_of([40, 40], [6] * 10)
    assert batches_of([40, 40], [6] * 10) != batches_of([40, 40], [6] * 10, seed=1)


def test_a_class_short_of_samples_is_drawn_with_replacement():
    (batch,) = batches_of([12, 1])
    assert classes_in(batch, [12, 1]) == {0: 8, 1: 8}
    assert Counter(batch)[12] == 8
    assert len(set(batch)) == 8 + 1


def test_every_sample_comes_once_before_any_comes_again():
    batches = batches_of([24, 24], rounds=4)
    for start in range(0, len(batches), 3):
        assert sorted(index for batch in batches[start : start + 3] for index in batch) == [
            *range(48)
        ]


def test_views_repeat_the_samples_in_the_same_order():
    for batch in batches_of([30, 30], [5, 5], views=2):
        assert batch[:8] == batch[8:]
        assert classes_in(batch[:8], [30, 30], [5, 5]) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_in_two_views_a_single_sample_makes_a_pair():
    (batch,) = batches_of([4] * 20, views=2, batch_size=16, rounds=1)[:1]
    assert len(set(batch)) == 8
    assert len(classes_in(batch, [4] * 20)) == 8


def test_a_pass_shows_as_many_new_samples_as_there_are():
    assert len(sampler_of([40, 40])) == 5
    assert len(sampler_of([40, 40], [9])) == 10
    assert len(sampler_of([40, 40], views=2)) == 10
    assert len(sampler_of([3])) == 1


@settings(max_examples=60)
@given(
    new=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    old=st.lists(st.integers(1, 9), max_size=12),
    batch_size=st.integers(8, 40),
    views=st.sampled_from([1, 2]),
    new_share=st.sampled_from([0.3, 0.5, 0.7]),
    seed=st.integers(0, 9),
)
def test_composition(new, old, batch_size, views, new_share, seed):
    """C = min(classes, samples / 2) classes in each part, equally often up to one, no sample twice
    where its class has enough."""
    samples = batch_size // views
    new_samples = round(samples * new_share) if old else samples
    least = 2 // views
    sizes = [*new, *old]
    batches = batches_of(
        new, old, rounds=3, batch_size=batch_size, views=views, new_share=new_share, seed=seed
    )
    for batch in batches:
        assert len(batch) == samples * views
        counts = classes_in(batch[:samples], new, old)
        parts = [(range(len(new)), new_samples)]
        if old:
            parts.append((range(len(new), len(sizes)), samples - new_samples))
        for classes, size in parts:
            present = [counts[c] for c in classes if counts[c]]
            assert sum(present) == size
            assert len(present) == min(len(classes), size // least)
            assert max(present) - min(present) <= 1
            assert min(present) >= least
        labels = labels_of(sizes)
        for index, times in Counter(batch[:samples]).items():
            assert times == 1 or counts[labels[index]] > sizes[labels[index]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"new_share": 0.0}, "new_share is 0.0; it must lie between 0 and 1"),
        ({"new_share": 1}, "new_share is 1; it must lie between 0 and 1"),
        ({"views": 0}, "views is 0; it must be 1 or more"),
        ({"new": []}, "the current experience has no sample"),
        ({"batch_size": 3}, "3 images in 1 views leaves 2 samples for the current classes and 1 "),
        ({"batch_size": 4, "new_share": 0.9}, "leaves 4 samples for the current classes and 0 for"),
        ({"batch_size": 3, "views": 2}, "leaves 0 samples for the current classes and 1 for the"),
        ({"batch_size": 1, "old": []}, "1 images in 1 views leaves 1 samples for the current"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        sampler_of(**{"new": [5, 5], "old": [5], **options})
