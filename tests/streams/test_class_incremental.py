from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simo_cl.streams import DataBrokenError, DataSet, Images, load_data
from simo_cl.streams.class_incremental import class_incremental


def _levels(dataset: object) -> list[float]:
    """The first pixel of every sample, which names the sample in `tiny_data`."""
    return [sample[0][0, 0, 0].item() for sample in dataset]  # type: ignore[attr-defined]


def _labels(stream: object) -> list[set[int]]:
    return [set(experience.dataset.targets) for experience in stream]  # type: ignore[attr-defined]


def test_classes_are_divided_with_the_remainder_in_the_last(tiny_data: DataSet) -> None:
    benchmark = class_incremental(tiny_data, experiences=3, seed=None)
    assert benchmark.classes_per_experience == [[0, 1], [2, 3], [4, 5, 6]]
    assert _labels(benchmark.train_stream) == [{0, 1}, {2, 3}, {4, 5, 6}]
    assert _labels(benchmark.test_stream) == [{0, 1}, {2, 3}, {4, 5, 6}]
    second = benchmark.train_stream[1]
    assert second.classes_in_this_experience == {2, 3}
    assert second.classes_seen_so_far == {0, 1, 2, 3}
    assert second.previous_classes == {0, 1}
    assert second.future_classes == {4, 5, 6}
    assert second.current_experience == 1
    assert not hasattr(benchmark, "valid_stream")


@pytest.mark.parametrize("seed", ["a", -1, 0.5])
def test_a_seed_that_is_none_is_refused(tiny_data: DataSet, seed: Any) -> None:
    with pytest.raises(ValueError, match=f"seed must be a whole number .*, got {seed!r}"):
        class_incremental(tiny_data, experiences=3, seed=seed)


@given(experiences=st.integers(1, 7), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_every_sample_is_in_one_experience(experiences: int, seed: int) -> None:
    labels = torch.arange(70) % 7
    images = Images(torch.zeros(70, 1, 2, 2, dtype=torch.uint8), labels)
    data = DataSet("d", images, images, tuple("abcdefg"), "d")
    benchmark = class_incremental(data, experiences=experiences, seed=seed, validation=0.2)
    for stream, per_class in (("train", 8), ("valid", 2), ("test", 10)):
        datasets = [e.dataset for e in benchmark.streams[stream]]
        counts = torch.tensor([t for d in datasets for t in d.targets]).bincount(minlength=7)
        assert counts.tolist() == [per_class] * 7
        assert len(datasets) == experiences


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_given_class_order_holds(tiny_data: DataSet, kind: Any) -> None:
    order = [6, 5, 4, 3, 2, 1, 0]
    benchmark = class_incremental(tiny_data, experiences=3, class_order=kind(order))
    assert repr(benchmark.classes_order) == repr(order)
    assert benchmark.n_classes_per_exp == [2, 2, 3]
    assert _labels(benchmark.train_stream)[0] == {5, 6}


def test_the_seed_decides_the_order_and_leaves_the_global_generators_alone(
    tiny_data: DataSet,
) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    orders = [
        class_incremental(tiny_data, seed=seed, validation=0.2).classes_order
        for seed in (0, 0, 1, 2)
    ]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert after == states


def test_the_validation_split_is_stratified_disjoint_and_repeatable(tiny_data: DataSet) -> None:
    def split(seed: int) -> tuple[list[float], list[float]]:
        benchmark = class_incremental(tiny_data, experiences=1, seed=seed, validation=0.3)
        train, valid = (benchmark.streams[s][0].dataset for s in ("train", "valid"))
        counts = torch.tensor(list(valid.targets)).bincount()
        assert counts.tolist() == [round(0.3 * (10 + c)) for c in range(7)]
        return _levels(train), _levels(valid)

    train, valid = split(0)
    everything = _levels(class_incremental(tiny_data, experiences=1).train_stream[0].dataset)
    assert sorted(train + valid) == sorted(everything)
    assert split(0) == (train, valid)
    assert sorted(split(1)[1]) != sorted(valid)


def test_joint_trains_once_and_tests_in_parts(tiny_data: DataSet) -> None:
    benchmark = class_incremental(tiny_data, experiences=3, seed=None, joint=True, validation=0.2)
    assert _labels(benchmark.train_stream) == [set(range(7))]
    assert _labels(benchmark.test_stream) == [{0, 1}, {2, 3}, {4, 5, 6}]
    assert _labels(benchmark.valid_stream) == [{0, 1}, {2, 3}, {4, 5, 6}]
    assert benchmark.n_classes_per_exp == [7]


def test_training_samples_are_augmented_anew_and_evaluation_never() -> None:
    benchmark = class_incremental("digits", augment=["crop", "flip"], validation=0.1)
    train = benchmark.train_stream[0].dataset

    def looks(dataset: object) -> int:
        return len({dataset[0][0].numpy().tobytes() for _ in range(20)})  # type: ignore[index]

    assert looks(train) > 1
    assert looks(train.eval()) == 1
    assert looks(benchmark.test_stream[0].dataset) == 1
    assert looks(benchmark.test_stream[0].dataset.train()) == 1
    assert looks(benchmark.valid_stream[0].dataset) == 1


def test_batches_hold_images_labels_and_task_labels() -> None:
    data = load_data("digits")
    dataset = class_incremental(data, seed=None).test_stream[1].dataset
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, collate_fn=dataset.collate_fn)
    images, labels, tasks = next(iter(loader))
    assert images.shape == (8, 1, 8, 8)
    assert images.dtype == torch.float32
    assert set(labels.tolist()) <= {2, 3}
    assert tasks.tolist() == [0] * 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"experiences": 0}, "from 1 to 7"),
        ({"experiences": 8}, "from 1 to 7"),
        ({"class_order": [0, 1, 2, 3, 4, 5, 5]}, "every label from 0 to 6 once"),
        ({"validation": 1.0}, "less than 1"),
        ({"validation": -0.1}, "at least 0"),
        ({"augment": ["spin"]}, "'spin' does not exist"),
    ],
)
def test_bad_arguments_are_refused(tiny_data: DataSet, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_incremental(tiny_data, **arguments)


def test_a_class_without_samples_is_named(tiny_data: DataSet) -> None:
    data = dataclasses.replace(tiny_data, class_names=(*tiny_data.class_names, "ghost"))
    with pytest.raises(DataBrokenError, match=r"class 'ghost' \(label 7\) has no sample"):
        class_incremental(data)
    with pytest.raises(DataBrokenError, match="class 'a'"):
        class_incremental(tiny_data, validation=0.01)
