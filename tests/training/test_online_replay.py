from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import (
    benchmark_from_datasets,
    split_online_stream,
    task_incremental_benchmark,
)
from avalanche.benchmarks.scenarios import OnlineCLExperience
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.supervised import Naive
from parts import Witness, embedding_model, quiet, stock
from torch import Tensor

from simo_cl.losses import SimOLoss
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.streams.resident import ResidentDataset
from simo_cl.training import (
    ClassBalancedMemory,
    ContrastiveReplay,
    OnlineReplayPlugin,
    ReservoirMemory,
)
from simo_cl.training.asymmetric_cross_entropy import AsymmetricCrossEntropy
from simo_cl.training.step_budget import ENDLESS_EPOCHS, StepBudget


def online(replay: OnlineReplayPlugin, *plugins: Any, **settings: Any) -> Any:
    return stock(Naive, plugins=[replay, *plugins], **settings)


def everything_kept(**options: Any) -> OnlineReplayPlugin:
    return OnlineReplayPlugin(ReservoirMemory(1000), **options)


class Rows:
    """Tells the rows of a batch by its images, which no augmentation has changed."""

    def __init__(self, dataset: ResidentDataset) -> None:
        images, _ = dataset.store.batch(range(len(dataset.store)), "eval")
        self.of_image = {image.numpy().tobytes(): row for row, image in enumerate(images)}
        assert len(self.of_image) == len(dataset.store)

    def __call__(self, images: Tensor) -> list[int]:
        return [self.of_image[image.numpy().tobytes()] for image in images]


class TestBatches:
    def test_new_samples_stand_first_and_the_memorys_follow(self, stream):
        replay = everything_kept()
        rows = Rows(stream.train_stream[0].dataset)
        seen = Witness(
            "before_forward",
            lambda s: (rows(s.mb_x), s.mb_y.tolist(), s.mb_task_id, replay.new_samples),
        )
        kept = Witness("before_forward", lambda s: set(replay.memory.rows.tolist()))
        strategy = online(replay, seen, kept)
        for experience in stream.train_stream[:2]:
            strategy.train(experience)
        sizes = [len(batch) for batch, *_ in seen.seen]
        assert sizes == [10, 20, 20, 20, 18, 20, 20, 20, 20, 18]
        assert [new for *_, new in seen.seen] == 2 * [10, 10, 10, 10, 8]
        labels = stream.train_stream[0].dataset.store.labels
        for (batch, batch_labels, tasks, new), memory in zip(seen.seen, kept.seen, strict=True):
            assert memory.isdisjoint(batch[:new])
            assert memory.issuperset(batch[new:])
            assert len(set(batch)) == len(batch)
            assert batch_labels == labels[batch].tolist()
            assert tasks.tolist() == [0] * len(batch)
        for index, experience in enumerate(stream.train_stream[:2]):
            new_rows = [r for b, *_, new in seen.seen[5 * index : 5 * index + 5] for r in b[:new]]
            assert sorted(new_rows) == sorted(experience.dataset.rows)

    def test_each_view_has_the_same_samples_augmented_independently(self, six_digits):
        stream = class_incremental(six_digits, experiences=3, seed=None, augment=["crop"])
        replay = everything_kept(batch_size=6, memory_batch_size=4, views=3)
        seen = Witness("before_forward", lambda s: (s.mb_x.clone(), s.mb_y.clone()))
        online(replay, seen).train(stream.train_stream[0])
        assert [len(images) for images, _ in seen.seen] == [18] + 7 * [30]
        for images, labels in seen.seen:
            views, labels_of_views = images.chunk(3), labels.chunk(3)
            assert torch.equal(labels_of_views[0], labels_of_views[1])
            assert torch.equal(labels_of_views[0], labels_of_views[2])
            assert not torch.equal(views[0], views[1])
            assert not torch.equal(views[1], views[2])

    def test_views_without_augmentation_are_the_same_images(self, stream):
        seen = Witness("before_forward", lambda s: s.mb_x.clone())
        online(everything_kept(views=2), seen).train(stream.train_stream[0])
        assert all(torch.equal(*images.chunk(2)) for images in seen.seen)

    def test_each_update_draws_from_the_memory_anew(self, stream):
        replay = everything_kept(updates=2)
        rows = Rows(stream.train_stream[0].dataset)
        seen = Witness("before_forward", lambda s: rows(s.mb_x))
        online(replay, seen).train(stream.train_stream[0])
        batches = seen.seen[4:]
        for first, second in zip(batches[::2], batches[1::2], strict=True):
            new = len(first) - 10
            assert first[:new] == second[:new]
            assert first[new:] != second[new:]

    def test_epochs_pass_over_all_samples_in_orders_of_their_own(self, stream):
        replay = everything_kept(batch_size=16)
        rows = Rows(stream.train_stream[0].dataset)
        seen = Witness("before_forward", lambda s: rows(s.mb_x[:16]))
        online(replay, seen, train_epochs=2).train(stream.train_stream[0])
        first, second = (
            [row for batch in part for row in batch] for part in (seen.seen[:3], seen.seen[3:])
        )
        assert first != second
        assert sorted(first) == sorted(second) == sorted(stream.train_stream[0].dataset.rows)
        assert first != sorted(first)
        assert replay.memory.state_dict()["seen"] == 96

    def test_the_seed_decides_the_order(self, stream):
        def order(seed: int) -> list[list[int]]:
            rows = Rows(stream.train_stream[0].dataset)
            seen = Witness("before_forward", lambda s: rows(s.mb_x[:10]))
            online(everything_kept(seed=seed), seen).train(stream.train_stream[0])
            return seen.seen

        assert order(0) == order(0)
        assert order(0) != order(1)

    def test_the_loader_is_as_long_as_it_says(self, stream):
        lengths = Witness("before_training_epoch", lambda s: len(s.dataloader))
        iterations = Witness("after_update", lambda s: None)
        strategy = online(everything_kept(updates=3), lengths, iterations)
        strategy.train(stream.train_stream[0])
        assert lengths.seen == [len(iterations.seen)] == [15]


class TestMemory:
    @pytest.mark.parametrize(
        ("updates", "held"),
        [(1, [10, 20, 30, 40, 48]), (2, [0, 10, 10, 20, 20, 30, 30, 40, 40, 48])],
    )
    def test_holds_a_batch_right_after_its_last_update_and_not_before(self, stream, updates, held):
        replay = everything_kept(updates=updates)
        before = Witness("after_update", lambda s: len(replay.memory))
        after = Witness("after_training_iteration", lambda s: len(replay.memory))
        online(replay, before, after).train(stream.train_stream[0])
        assert after.seen == held
        assert before.seen == [0, *held[:-1]]

    def test_a_batch_that_was_fetched_but_not_trained_on_is_not_remembered(self, stream):
        """Training that is stopped still fetches the next batch."""
        replay = everything_kept(updates=2)
        strategy = online(replay, StepBudget([3, 2]), train_epochs=ENDLESS_EPOCHS)
        for count, experience in enumerate(stream.train_stream[:2], start=1):
            strategy.train(experience)
            assert len(replay.memory) == 10 * count
            assert set(replay.memory.rows[-10:]) <= set(experience.dataset.rows)

    def test_is_an_avalanche_data_set_too(self, stream):
        replay = OnlineReplayPlugin(ClassBalancedMemory(24))
        assert len(replay.memory_dataset) == 0
        assert replay.memory_size == 24
        online(replay).train(stream.train_stream[:2])
        dataset = replay.memory_dataset
        assert type(dataset) is ResidentDataset
        assert dataset.rows.tolist() == replay.memory.rows.tolist()
        assert list(dataset.targets) == replay.memory.labels.tolist()
        assert dataset.group == "train"
        assert dataset.targets.count == {0: 6, 1: 6, 2: 6, 3: 6}

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
    def test_a_copy_of_the_plugin_goes_on_as_the_plugin_does(self, stream, again):
        replay = OnlineReplayPlugin(ClassBalancedMemory(24))
        online(replay).train(stream.train_stream[0])
        copied = again(replay)
        for plugin in (replay, copied):
            online(plugin).train(stream.train_stream[1])
        assert copied.memory.rows.tolist() == replay.memory.rows.tolist()
        assert set(copied.memory.labels) == {0, 1, 2, 3}


class TestSmallExperiences:
    """One `train` call an experience is one small experience a batch, in the same order."""

    SEED = 3

    def small_experiences(self, experience: Any, orders: Any, orders_of_parts: Any) -> Iterator:
        """The batches of one pass, so arranged that the pass over each leaves it in order."""
        dataset = experience.dataset
        order = orders.permutation(len(dataset))
        parts = [order[start : start + 10] for start in range(0, len(dataset), 10)]
        for index, part in enumerate(parts):
            arranged = np.empty_like(part)
            arranged[orders_of_parts.permutation(len(part))] = part
            yield OnlineCLExperience(
                dataset=dataset.subset(arranged),
                origin_experience=experience,
                is_first_subexp=index == 0,
                is_last_subexp=index == len(parts) - 1,
                sub_stream_length=len(parts),
            )

    @pytest.mark.parametrize("memory", [ReservoirMemory, ClassBalancedMemory])
    @pytest.mark.parametrize("updates", [1, 2])
    @pytest.mark.parametrize("momentum", [0, 0.9])
    def test_weights_and_memory_are_the_same(self, stream, memory, updates, momentum):
        def trained(experiences: Callable[[], Any]) -> tuple[Any, OnlineReplayPlugin]:
            replay = OnlineReplayPlugin(memory(24, seed=1), updates=updates, seed=self.SEED)
            strategy = online(replay)
            strategy.optimizer.param_groups[0]["momentum"] = momentum
            for experience in experiences():
                strategy.train(experience)
            return strategy, replay

        def small() -> Any:
            generators = [np.random.default_rng(self.SEED) for _ in range(2)]
            return split_online_stream(
                stream.train_stream,
                10,
                experience_split_strategy=lambda e, _: self.small_experiences(e, *generators),
            )

        strategy, replay = trained(lambda: stream.train_stream)
        expected, expected_replay = trained(small)
        assert strategy.clock.train_iterations == expected.clock.train_iterations == 15 * updates
        assert expected.clock.train_exp_counter == 15
        assert replay.memory.rows.tolist() == expected_replay.memory.rows.tolist()
        for name, weight in expected.model.state_dict().items():
            torch.testing.assert_close(strategy.model.state_dict()[name], weight)

    def test_avalanches_own_split(self, stream):
        replay = OnlineReplayPlugin(ClassBalancedMemory(24))
        sizes = Witness("before_forward", lambda s: (len(s.mb_y), replay.new_samples))
        strategy = online(replay, sizes, evaluator=quiet(accuracy_metrics(stream=True)))
        for experience in split_online_stream(stream.train_stream, 10, seed=0):
            strategy.train(experience)
        assert sizes.seen == [(10, 10), *3 * [(20, 10)], (18, 8), *2 * [*4 * [(20, 10)], (18, 8)]]
        assert replay.memory_dataset.targets.count == dict.fromkeys(range(6), 4)
        results = strategy.eval(stream.test_stream)
        assert results["Top1_Acc_Stream/eval_phase/test_stream/Task000"] > 1 / 6


def contrastive(replay: OnlineReplayPlugin, **options: Any) -> ContrastiveReplay:
    model = options.pop("model", None) or embedding_model(width=4)
    defaults = {
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss": SimOLoss(),
        "eval_mb_size": 64,
        "evaluator": quiet(accuracy_metrics(stream=True)),
    }
    return ContrastiveReplay(model=model, replay=replay, **{**defaults, **options})


class TestContrastive:
    @pytest.mark.parametrize("views", [1, 2])
    def test_learns_and_reads_out_by_the_means_of_the_memory(self, six_digits, views):
        torch.manual_seed(0)
        stream = class_incremental(six_digits, experiences=3, seed=None, augment=["crop"])
        replay = OnlineReplayPlugin(
            ClassBalancedMemory(24), batch_size=8, memory_batch_size=8, updates=3, views=views
        )
        strategy = contrastive(replay)
        for count, experience in enumerate(stream.train_stream[:2], start=1):
            strategy.train(experience)
            results = strategy.eval(stream.test_stream[:count])
            model = strategy.model
            assert model.has_mean.tolist() == [True] * 2 * count + [False] * (6 - 2 * count)
            images, labels = experience.dataset.store.batch(replay.memory.rows, "eval")
            model.eval()
            with torch.no_grad():
                points = torch.nn.functional.normalize(model.encoder(images))
            for label in range(2 * count):
                mean = points[labels == label].mean(dim=0)
                torch.testing.assert_close(model.class_means[label], mean)
        assert results["Top1_Acc_Stream/eval_phase/test_stream/Task000"] > 0.6


class TestWithoutADevice:
    """Whole iterations, and the evaluation, never read the value of a tensor."""

    @pytest.fixture
    def meta_stream(self, six_digits) -> Any:
        return class_incremental(
            six_digits, experiences=3, seed=None, augment=["crop", "flip"], device="meta"
        )

    def test_contrastive_replay(self, meta_stream):
        model = embedding_model(read_out="embedding").to("meta")
        replay = OnlineReplayPlugin(ClassBalancedMemory(24), updates=2, views=2)
        strategy = contrastive(replay, model=model, device="meta", evaluator=quiet())
        for experience in meta_stream.train_stream[:2]:
            strategy.train(experience)
            strategy.eval(meta_stream.test_stream)
        assert model.class_means.device.type == "meta"
        assert all(p.grad is not None for p in model.parameters())
        assert set(replay.memory.labels) == {0, 1, 2, 3}

    def test_er_ace(self, meta_stream):
        replay = OnlineReplayPlugin(ClassBalancedMemory(24))
        strategy = online(replay, criterion=AsymmetricCrossEntropy(replay), device="meta")
        for experience in meta_stream.train_stream[:2]:
            strategy.train(experience)
            strategy.eval(meta_stream.test_stream)
        assert strategy.loss.device.type == "meta"
        assert all(p.grad is not None for p in strategy.model.parameters())


class TestRefuses:
    @pytest.mark.parametrize("name", ["batch_size", "memory_batch_size", "updates", "views"])
    def test_sizes_below_one(self, name):
        with pytest.raises(ValueError, match=f"{name} is 0; it must be 1 or more"):
            OnlineReplayPlugin(ReservoirMemory(10), **{name: 0})

    def test_data_of_another_kind(self, stream):
        train = [experience.dataset.sample_by_sample() for experience in stream.train_stream]
        benchmark = benchmark_from_datasets(train=train)
        with pytest.raises(
            TypeError,
            match=r"data are a TaskAwareSupervisedClassificationDataset; OnlineReplayPlugin needs "
            r"a simo_cl.ResidentDataset: take the stream from simo_cl.class_incremental, or wrap",
        ):
            online(everything_kept()).train(benchmark.train_stream[0])

    def test_task_labels(self, stream):
        benchmark = task_incremental_benchmark(stream, reset_task_labels=True)
        with pytest.raises(ValueError, match=r"data have task labels; .* for streams without"):
            online(everything_kept()).train(benchmark.train_stream[1])

    def test_images_of_another_store(self, stream, six_digits):
        other = class_incremental(six_digits, experiences=3, seed=None, augment=["flip"])
        strategy = online(everything_kept())
        strategy.train(stream.train_stream[0])
        with pytest.raises(ValueError, match="images are of another store than those in the memor"):
            strategy.train(other.train_stream[1])

    def test_more_classes_than_a_balanced_memory_has_slots_before_training(self, stream):
        replay = OnlineReplayPlugin(ClassBalancedMemory(3))
        strategy = online(replay)
        strategy.train(stream.train_stream[0])
        with pytest.raises(ValueError, match="memory size is 3, but 4 classes will have been seen"):
            strategy.train(stream.train_stream[1])
        assert strategy.clock.train_iterations == 5
        online(OnlineReplayPlugin(ReservoirMemory(3))).train(stream.train_stream)
