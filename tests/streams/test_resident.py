from __future__ import annotations

import copy
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import (
    benchmark_from_datasets,
    benchmark_with_validation_stream,
    class_incremental_benchmark,
    split_online_stream,
    task_incremental_benchmark,
)
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    ConstantSequence,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
    TransformGroups,
    concat_datasets,
)
from avalanche.benchmarks.utils.data_loader import ReplayDataLoader
from torch import Tensor
from torch.utils.data import DataLoader

from simo_cl.streams import DataSet, load_data
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.streams.image_store import image_store
from simo_cl.streams.resident import ResidentDataset, collate

AUGMENT = ["crop", "flip"]


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


def dataset_of(data: DataSet, rows: Any = range(20), group: str = "train") -> ResidentDataset:
    return ResidentDataset(image_store(data, "train", AUGMENT), rows, group)


def plain(data: DataSet, rows: Any = range(20)) -> ResidentDataset:
    """Without augmentation, of another store than `dataset_of`."""
    return ResidentDataset(image_store(data, "train"), rows)


def stock_of(images: Tensor, labels: list[int]) -> TaskAwareSupervisedClassificationDataset:
    """A data set of Avalanche's that has nothing to do with a store."""
    return TaskAwareSupervisedClassificationDataset(
        [list(zip(images, labels, strict=True))],
        data_attributes=[
            DataAttribute(labels, "targets"),
            TaskLabels(ConstantSequence(0, len(labels))),
        ],
    )


def read(dataset: Any) -> list[tuple[Tensor, list[Any]]]:
    """All samples, each augmented by random numbers of its own, the same in each call."""
    samples = []
    for index in range(len(dataset)):
        torch.manual_seed(index)
        image, *rest = dataset[index]
        samples.append((image, [v.item() if isinstance(v, Tensor) else v for v in rest]))
    return samples


def assert_alike(dataset: Any, expected: Any) -> None:
    """The same samples, attributes and batches."""
    assert len(dataset) == len(expected)
    for (image, rest), (expected_image, expected_rest) in zip(
        read(dataset), read(expected), strict=True
    ):
        assert torch.equal(image, expected_image)
        assert rest == expected_rest
    for name in ("targets", "targets_task_labels"):
        attribute, expected_attribute = getattr(dataset, name), getattr(expected, name)
        assert list(attribute) == list(expected_attribute)
        if len(expected) == 0:
            continue
        assert attribute.uniques == expected_attribute.uniques
        assert attribute.count == expected_attribute.count
        indices = {v: list(i) for v, i in attribute.val_to_idx.items()}
        assert indices == {v: list(i) for v, i in expected_attribute.val_to_idx.items()}
    if len(expected):
        for part, expected_part in zip(batch(dataset), batch(expected), strict=True):
            assert part.dtype == expected_part.dtype
            assert part.shape == expected_part.shape


def batch(dataset: Any) -> list[Tensor]:
    collate_fn = dataset.collate_fn
    return next(iter(DataLoader(dataset, batch_size=len(dataset), collate_fn=collate_fn)))


class TestRow:
    def test_reads_as_image_label_and_what_was_appended(self, digits: DataSet) -> None:
        dataset = plain(digits)
        row = dataset[3]
        row.append("more")
        image, label, task, more = row
        assert len(row) == 4
        assert torch.equal(image, dataset.store.batch([3], "train")[0][0])
        assert (label, task, more) == (int(digits.train.labels[3]), 0, "more")
        assert type(label) is int
        assert row[1:] == [label, task, more]
        assert row[-1] == "more"
        with pytest.raises(IndexError):
            row[4]

    def test_is_transformed_by_its_group(self, digits: DataSet) -> None:
        rows = [4] * 30
        train, evaluation = dataset_of(digits, rows), dataset_of(digits, rows, "eval")
        assert len({row[0].numpy().tobytes() for row in evaluation}) == 1
        assert len({row[0].numpy().tobytes() for row in train}) > 10

    def test_is_pickled_small(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        row = pickle.loads(pickle.dumps(dataset[3]))
        assert (row.store, row.number, row.group, row.appended) == (dataset.store, 3, "train", [0])
        assert len(pickle.dumps(dataset[3])) < 500


class TestCollate:
    def test_a_batch_of_rows_is_the_stack_of_its_samples(self, digits: DataSet) -> None:
        dataset = plain(digits)
        rows = [dataset[i] for i in (5, 1, 5)]
        for index, row in enumerate(rows):
            row.append(torch.tensor([index, 1.0]))
        images, labels, tasks, appended = collate(rows)
        assert torch.equal(images, torch.stack([row[0] for row in rows]))
        assert labels.tolist() == [row[1] for row in rows]
        assert tasks.tolist() == [0, 0, 0]
        assert appended.tolist() == [[0, 1], [1, 1], [2, 1]]

    def test_stores_groups_and_ordinary_samples_mix_in_their_order(self, digits: DataSet) -> None:
        train, evaluation = dataset_of(digits), dataset_of(digits, group="eval")
        other = ResidentDataset(image_store(digits, "test", normalization=((0,), (1,))), range(9))
        ordinary = [(torch.full((1, 8, 8), float(i)), 100 + i, 7) for i in range(3)]
        samples = [
            evaluation[2],
            ordinary[0],
            other[4],
            evaluation[0],
            train[1],
            ordinary[2],
            other[3],
        ]
        # Only one of them is augmented.
        torch.manual_seed(3)
        images, labels, tasks = collate(samples)
        torch.manual_seed(3)
        expected = [list(sample) for sample in samples]
        assert torch.equal(images, torch.stack([s[0] for s in expected]))
        assert labels.tolist() == [s[1] for s in expected]
        assert tasks.tolist() == [0, 7, 0, 0, 0, 7, 0]

    def test_rows_of_two_groups_or_two_stores_mix(self, digits: DataSet) -> None:
        first, second = dataset_of(digits, group="eval"), dataset_of(digits, [4] * 20)
        looks = {image.numpy().tobytes() for image in collate([first[0], *second])[0][1:]}
        assert len(looks) > 5
        other = ResidentDataset(image_store(digits, "test"), range(3), "eval")
        images, labels, _ = collate([first[1], other[2], first[2]])
        assert torch.equal(images, torch.stack([first[1][0], other[2][0], first[2][0]]))
        assert labels.tolist() == [first[1][1], other[2][1], first[2][1]]

    def test_ordinary_samples_alone_make_a_batch(self) -> None:
        """As a batch of a data set that only in other places has rows."""
        images, labels, tasks = collate([(torch.full((1, 8, 8), 2.0), 5, 0)] * 3)
        assert images.shape == (3, 1, 8, 8)
        assert labels.tolist() == [5, 5, 5]
        assert tasks.tolist() == [0, 0, 0]

    def test_samples_of_different_length_do_not_make_a_batch(self, digits: DataSet) -> None:
        dataset = plain(digits)
        longer = dataset[0]
        longer.append(1)
        with pytest.raises(ValueError, match="zip"):
            collate([longer, dataset[1]])

    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("given", [True, False], ids=["ours", "torch's default"])
    def test_loaders(self, digits: DataSet, given: bool, num_workers: int) -> None:
        dataset = plain(digits)
        loader = DataLoader(
            dataset,
            batch_size=8,
            collate_fn=dataset.collate_fn if given else None,
            num_workers=num_workers,
        )
        batches = list(loader)
        assert [len(images) for images, _, _ in batches] == [8, 8, 4]
        images, labels, tasks = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert torch.equal(images, dataset.store.batch(range(20), "train")[0])
        assert labels.tolist() == dataset.labels.tolist()
        assert tasks.tolist() == [0] * 20

    @pytest.mark.parametrize("change", [lambda d: d, lambda d: d.sample_by_sample()])
    def test_can_be_sent_to_a_process_that_is_not_forked(
        self, digits: DataSet, change: Any
    ) -> None:
        dataset = change(plain(digits))
        sent = ForkingPickler.dumps(dataset)
        assert torch.equal(pickle.loads(sent)[5][0], plain(digits)[5][0])


CHANGES = {
    "nothing": lambda d: d,
    "subset": lambda d: d.subset([3, 1, 1, 0]),
    "subset by an array": lambda d: d.subset(np.array([3, 1])),
    "subset by a tensor": lambda d: d.subset(torch.tensor([3, 1])),
    "subset by a range": lambda d: d.subset(range(4, 0, -1)),
    "subset of a subset": lambda d: d.subset(range(10, 20)).subset([9, 0]),
    "empty subset": lambda d: d.subset([]),
    "eval": lambda d: d.eval(),
    "train": lambda d: d.eval().train(),
    "eval of a subset": lambda d: d.subset([3, 1]).eval(),
    "subset of eval": lambda d: d.eval().subset([3, 1]),
    "concat": lambda d: d.subset([5, 6]).concat(d.subset([2])),
    "plus": lambda d: d.subset([5, 6]) + d.subset([2]),
    "concat of eval": lambda d: d.eval().subset([5, 6]).concat(d.eval().subset([2])),
    "concat of an empty subset": lambda d: d.subset([5, 6]).concat(d.subset([])),
    "concat to an empty subset": lambda d: d.subset([]).concat(d.subset([5, 6])),
    "concat of nothing": lambda d: d.subset([5, 6]).concat(AvalancheDataset([])),
    "task labels": lambda d: d.update_data_attribute("targets_task_labels", tasks_of(d)),
    "subset of task labels": lambda d: CHANGES["task labels"](d).subset([3, 1]),
    "concat of task labels": lambda d: d.concat(CHANGES["task labels"](d)),
    "eval of task labels": lambda d: CHANGES["task labels"](d).eval(),
    "a data set of task labels": lambda d: CHANGES["task labels"](d).task_set[2],
    "a data set of the only task": lambda d: d.task_set[0],
    "other targets": lambda d: d.update_data_attribute("targets", [5] * len(d)),
    "other targets of eval": lambda d: d.eval().update_data_attribute("targets", [5] * len(d)),
    "another attribute": lambda d: d.update_data_attribute("age", appended(len(d))),
    "subset of another attribute": lambda d: CHANGES["another attribute"](d).subset([3, 1]),
    "frozen": lambda d: d.freeze_transforms(),
    "frozen eval": lambda d: d.eval().freeze_transforms(),
    "eval of frozen": lambda d: d.freeze_transforms().eval(),
    "removed": lambda d: d.remove_current_transform_group(),
    "eval of removed": lambda d: d.remove_current_transform_group().eval(),
    "replaced": lambda d: d.replace_current_transform_group(darker),
    "replaced in eval": lambda d: d.eval().replace_current_transform_group(darker),
    "train of replaced in eval": lambda d: d.eval().replace_current_transform_group(darker).train(),
    # A data set of Avalanche's that a resident one is part of.
    "wrapped": lambda d: wrap(d),
    "wrapped eval": lambda d: wrap(d.eval()),
    "eval of wrapped": lambda d: wrap(d).eval(),
    "subset of wrapped eval": lambda d: wrap(d.eval()).subset([3, 1]),
    "wrapped, frozen": lambda d: wrap(d).freeze_transforms(),
    "wrapped, eval of frozen": lambda d: wrap(d).freeze_transforms().eval(),
    "wrapped, frozen eval": lambda d: wrap(d.eval()).freeze_transforms(),
    "wrapped, removed": lambda d: wrap(d).remove_current_transform_group(),
    "wrapped, replaced": lambda d: wrap(d).replace_current_transform_group(darker),
    "wrapped, replaced in eval": lambda d: wrap(d.eval()).replace_current_transform_group(darker),
    "wrapped, subset, replaced": lambda d: (
        wrap(d).subset([3, 1]).replace_current_transform_group(darker)
    ),
    "wrapped with transforms": lambda d: wrap(d, transform_groups={"train": darker, "eval": None}),
    "wrapped with transforms, eval": lambda d: CHANGES["wrapped with transforms"](d).eval(),
}


def tasks_of(dataset: Any) -> list[int]:
    return [index % 3 for index in range(len(dataset))]


def appended(count: int) -> DataAttribute:
    return DataAttribute([2.5 * i for i in range(count)], "age", use_in_getitem=True)


def darker(image: Tensor) -> Tensor:
    return image / 2 - 1


def wrap(dataset: Any, **options: Any) -> Any:
    if "transform_groups" in options:
        options["transform_groups"] = TransformGroups(options["transform_groups"])
    return TaskAwareSupervisedClassificationDataset([dataset], **options)


class TestAsAvalanchesOwn:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_every_change_gives_what_it_gives_for_stock_data(
        self, digits: DataSet, change: Any
    ) -> None:
        dataset = dataset_of(digits)
        assert_alike(change(dataset), change(dataset.sample_by_sample()))

    @pytest.mark.parametrize("group", ["train", "eval"])
    def test_stock_data_are_transformed_by_the_same_group(
        self, digits: DataSet, group: str
    ) -> None:
        dataset = dataset_of(digits, [4] * 30, group)
        looks = {image.numpy().tobytes() for image, _ in read(dataset.sample_by_sample())}
        assert (len(looks) > 1) == (group == "train")

    @pytest.mark.parametrize(
        "change",
        [
            "subset",
            "eval",
            "concat",
            "plus",
            "concat of nothing",
            "task labels",
            "a data set of task labels",
        ],
    )
    def test_what_needs_no_image_keeps_the_type(self, digits: DataSet, change: str) -> None:
        assert type(CHANGES[change](dataset_of(digits))) is ResidentDataset

    def test_a_change_leaves_the_data_set_as_it_was(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        for change in CHANGES.values():
            change(dataset)
        assert_alike(dataset, dataset_of(digits).sample_by_sample())

    def test_slices_are_subsets(self, digits: DataSet) -> None:
        """Avalanche's own slices fail for data that append task labels."""
        dataset = dataset_of(digits)
        assert dataset[2:9:3] == dataset.subset([2, 5, 8])
        assert dataset[-2:] == dataset.subset([18, 19])

    def test_numbers_from_the_end_and_beyond(self, digits: DataSet) -> None:
        dataset = dataset_of(digits, [7, 8])
        assert dataset[-1].number == dataset[np.int64(1)].number == 8
        with pytest.raises(IndexError):
            dataset[2]
        assert [row.number for row in dataset] == [7, 8]

    def test_equality(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        zeros = dataset.update_data_attribute("targets_task_labels", [0] * 20)
        assert dataset == dataset_of(digits) == zeros
        assert dataset != dataset.eval()
        assert dataset != dataset.subset(range(19))
        assert dataset != plain(digits)
        assert dataset != CHANGES["task labels"](dataset)
        assert dataset != dataset.sample_by_sample()
        assert len({dataset, dataset_of(digits)}) == 2

    def test_copies_and_pickles_are_equal_and_small(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        assert list(dataset.targets)
        assert dataset._flat_data is not None
        for copied in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
            assert copied == dataset
            assert copied.store is dataset.store
            assert_alike(copied, dataset)
        assert len(pickle.dumps(dataset)) < 4000
        # 1437 images of 8 x 8 pixels are 92 kB.
        whole = dataset_of(digits, range(1437))
        assert len(pickle.dumps(whole)) < 15_000

    def test_bad_changes_are_refused(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        with pytest.raises(ValueError, match=r"no transform group 'test'.* have 'train', 'eval'"):
            dataset.with_transforms("test")
        for mask in (np.arange(20) < 5, torch.arange(20) < 5, [True] * 20):
            with pytest.raises(TypeError, match=r"indices of a subset are bool; .*flatnonzero"):
                dataset.subset(mask)
        with pytest.raises(ValueError, match="3 task labels were given for 20 samples"):
            dataset.update_data_attribute("targets_task_labels", [1, 2, 3])
        with pytest.raises(IndexError):
            dataset.subset([20])


class TestMixedWithStockData:
    def images(self) -> Tensor:
        return torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 8, 8)

    @pytest.mark.parametrize("group", ["train", "eval"])
    def test_both_ways(self, digits: DataSet, group: str) -> None:
        dataset = dataset_of(digits, range(5), group)
        others = stock_of(self.images(), [7, 8, 9]).with_transforms(group)
        expected = dataset.sample_by_sample()
        assert_alike(dataset.concat(others), expected.concat(others))
        assert_alike(others.concat(dataset), others.concat(expected))
        joined = concat_datasets([dataset, others, dataset.subset([1])])
        assert_alike(joined, concat_datasets([expected, others, expected.subset([1])]))
        assert_alike(joined.subset([6, 0]), dataset.subset([0]).concat(others).subset([2, 0]))

    @pytest.mark.filterwarnings("ignore:Concatenated datasets have different transformation groups")
    def test_the_first_one_decides_the_group(self, digits: DataSet) -> None:
        dataset, others = dataset_of(digits), plain(digits)
        joined = dataset.eval().concat(others)
        assert {row.group for row in joined} == {"eval"}
        assert {row.group for row in dataset.concat(others.eval())} == {"train"}
        assert {row.group for row in dataset.eval().subset([]).concat(others)} == {"eval"}

    def test_data_of_two_stores(self, digits: DataSet) -> None:
        first, second = dataset_of(digits), plain(digits)
        joined, expected = first.concat(second), first.sample_by_sample()
        assert_alike(joined, expected.concat(second.sample_by_sample()))
        images, labels, _ = batch(joined.eval())
        assert torch.equal(images[20:], second.store.batch(range(20), "eval")[0])
        assert labels.tolist() == 2 * first.labels.tolist()

    def test_empty_data_on_either_side(self, digits: DataSet) -> None:
        dataset = dataset_of(digits)
        empty = AvalancheDataset([])
        assert dataset.concat(empty) is dataset
        for joined in (empty.concat(dataset), concat_datasets([empty, dataset])):
            assert [row.number for row in joined] == list(range(20))
            assert {row.group for row in joined.eval()} == {"eval"}

    def test_replay_loaders(self, digits: DataSet) -> None:
        dataset, others = plain(digits), stock_of(self.images(), [70, 80, 90])
        loader = ReplayDataLoader(dataset, others, batch_size=5, batch_size_mem=1)
        batches = list(loader)
        assert [len(labels) for _, labels, _ in batches] == [6, 6, 6, 5]
        images, labels, tasks = batches[1]
        assert len(images) == len(tasks) == 6
        assert set(labels[:5].tolist()) <= set(range(10))
        assert labels[5] in (70, 80, 90)
        assert torch.equal(images[5], self.images()[labels[5] // 10 - 7])


class TestBenchmarks:
    def streams(self, data: DataSet) -> dict[str, ResidentDataset]:
        train, test = image_store(data, "train", AUGMENT), image_store(data, "test")
        return {
            "train": ResidentDataset(train, range(len(train))),
            "test": ResidentDataset(test, range(len(test)), "eval"),
        }

    def assert_resident(self, benchmark: Any) -> None:
        datasets = [e.dataset for stream in benchmark.streams.values() for e in stream]
        assert {type(dataset) for dataset in datasets} == {ResidentDataset}

    def test_from_data_sets(self, digits: DataSet) -> None:
        streams = self.streams(digits)
        parts = {
            name: [d.subset(range(50)), d.subset(range(50, 90))] for name, d in streams.items()
        }
        benchmark = benchmark_from_datasets(**parts)
        self.assert_resident(benchmark)
        assert benchmark.train_stream[1].dataset is parts["train"][1]

    def test_class_incremental(self, digits: DataSet) -> None:
        streams = self.streams(digits)
        benchmark = class_incremental_benchmark(
            dict(streams), num_experiences=5, class_order=[8, 9, 6, 7, 4, 5, 2, 3, 0, 1]
        )
        self.assert_resident(benchmark)
        expected = class_incremental_benchmark(
            {name: dataset.sample_by_sample() for name, dataset in streams.items()},
            num_experiences=5,
            class_order=[8, 9, 6, 7, 4, 5, 2, 3, 0, 1],
        )
        for name in ("train", "test"):
            for ours, stock in zip(benchmark.streams[name], expected.streams[name], strict=True):
                assert ours.classes_seen_so_far == stock.classes_seen_so_far
                assert ours.dataset.group == ("train" if name == "train" else "eval")
                rows = range(0, len(ours.dataset), 20)
                assert_alike(ours.dataset.subset(rows), stock.dataset.subset(rows))

    def test_with_a_validation_stream(self, digits: DataSet) -> None:
        benchmark = class_incremental_benchmark(self.streams(digits), num_experiences=2)
        split = benchmark_with_validation_stream(benchmark, 0.25, shuffle=True, seed=0)
        self.assert_resident(split)
        train, valid = split.train_stream[0].dataset, split.valid_stream[0].dataset
        assert len(valid) == int(0.25 * (len(train) + len(valid)))
        assert sorted([*train.rows, *valid.rows]) == sorted(benchmark.train_stream[0].dataset.rows)

    def test_task_incremental(self, digits: DataSet) -> None:
        benchmark = class_incremental_benchmark(self.streams(digits), num_experiences=2)
        benchmark = task_incremental_benchmark(benchmark, reset_task_labels=True)
        self.assert_resident(benchmark)
        for task, experience in enumerate(benchmark.train_stream):
            assert experience.task_label == task
            assert experience.dataset.targets_task_labels.uniques == {task}
            assert batch(experience.dataset.subset(range(3)))[2].tolist() == [task] * 3

    def test_online(self, digits: DataSet) -> None:
        stream = class_incremental(digits, experiences=5).train_stream
        parts = list(split_online_stream(stream, 10, seed=0))
        assert {type(part.dataset) for part in parts} == {ResidentDataset}
        assert sum(len(part.dataset) for part in parts) == len(digits.train)
        sizes = [len(part.dataset) for part in parts if part.logging().is_last_subexp]
        assert all(size <= 10 for size in sizes)
