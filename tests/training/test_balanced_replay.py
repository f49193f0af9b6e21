from __future__ import annotations

from collections import Counter

import pytest
import torch
from avalanche.training.supervised import Naive
from parts import Witness, embedding_model, quiet, stock
from torch import nn

from simo_cl.losses import SimOLoss
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay


def batches(stream, **settings) -> list[list[int]]:
    """The labels of each batch of two experiences, trained with 12 images a batch."""
    seen = Witness("before_forward", lambda strategy: strategy.mb_y.tolist())
    replay = BalancedReplayPlugin(**{"memory_size": 8, "batch_size": 12, **settings})
    strategy = stock(Naive, plugins=[replay, seen])
    for experience in stream.train_stream[:2]:
        strategy.train(experience)
    return seen.seen


def test_trains_on_class_balanced_batches(stream):
    labels = batches(stream, new_share=2 / 3)
    first, second = labels[:4], labels[4:]
    assert len(second) == 48 // 8
    assert all(Counter(batch) == {0: 6, 1: 6} for batch in first)
    assert all(Counter(batch) == {0: 2, 1: 2, 2: 4, 3: 4} for batch in second)


def test_keeps_equally_many_samples_of_each_class_seen(stream):
    replay = BalancedReplayPlugin(memory_size=13, batch_size=12)
    strategy = stock(Naive, plugins=[replay])
    assert len(replay.memory_dataset) == 0
    for experience, sizes in zip(stream.train_stream, ([6, 7], [3, 3, 3, 4], None), strict=True):
        strategy.train(experience)
        counts = Counter(int(y) for y in replay.memory_dataset.targets)
        assert sum(counts.values()) == 13
        assert sizes is None or sorted(counts.values()) == sizes
        assert set(counts) == set(range(max(experience.classes_in_this_experience) + 1))


def test_is_the_contrastive_strategys_control(six_digits):
    """With the same seeds both train on the very same images, augmentation included."""
    stream = class_incremental(six_digits, experiences=3, seed=None, augment=["crop", "flip"])
    images = []
    for contrastive in (False, True):
        seen = Witness("before_forward", lambda s: (s.mb_x.clone(), s.mb_y.clone()))
        replay = BalancedReplayPlugin(9, 12, seed=3)
        if contrastive:
            model = embedding_model()
            strategy = ContrastiveReplay(
                model=model,
                optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
                loss=SimOLoss(),
                replay=replay,
                evaluator=quiet(),
                plugins=[seen],
            )
        else:
            strategy = stock(Naive, plugins=[replay, seen])
        for index, experience in enumerate(stream.train_stream):
            torch.manual_seed(index)
            strategy.train(experience)
        images.append(seen.seen)
    assert len(images[0]) == len(images[1]) == 4 + 2 * 8
    for (own, own_labels), (other, other_labels) in zip(*images, strict=True):
        assert torch.equal(own, other)
        assert torch.equal(own_labels, other_labels)


def test_the_memory_s_part_may_have_current_samples_too(stream):
    labels = batches(stream, new_share=2 / 3, replays_current=True)
    first, second = labels[:4], labels[4:]
    assert all(Counter(batch) == {0: 6, 1: 6} for batch in first)
    assert all(Counter(batch[:8]) == {2: 4, 3: 4} for batch in second)
    assert all(sorted(Counter(batch[8:]).values()) == [2, 2] for batch in second)
    assert {label for batch in second for label in batch[8:]} == {0, 1, 2, 3}


def test_the_seed_decides_the_batches(stream):
    torch.manual_seed(0)
    first = batches(stream)
    torch.manual_seed(0)
    assert batches(stream) == first
    torch.manual_seed(0)
    assert batches(stream, seed=1) != first


def test_a_memory_too_small_for_the_classes_is_an_error_before_training_on_them(stream):
    replay = BalancedReplayPlugin(memory_size=3, batch_size=12)
    strategy = stock(Naive, plugins=[replay])
    strategy.train(stream.train_stream[0])
    before = nn.utils.parameters_to_vector(strategy.model.parameters()).clone()
    with pytest.raises(ValueError, match=r"memory_size is 3, but 4 classes have been.*raise"):
        strategy.train(stream.train_stream[1])
    assert torch.equal(nn.utils.parameters_to_vector(strategy.model.parameters()), before)
