from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from avalanche.benchmarks import split_online_stream
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.supervised import DER, ER_ACE, Naive, Replay
from parts import Witness, classifier, embedding_model, icarl, quiet, stock
from torch import Tensor, nn

from simo_cl.losses import SimOLoss
from simo_cl.training import (
    BalancedReplayPlugin,
    ClassBalancedMemory,
    ContrastiveReplay,
    OnlineReplayPlugin,
    step_budget,
)
from simo_cl.training.step_budget import ENDLESS_EPOCHS, DivergedError, StepBudget


def contrastive(*, plugins: list[Any], **options: Any) -> ContrastiveReplay:
    model = embedding_model()
    return ContrastiveReplay(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        loss=SimOLoss(),
        replay=BalancedReplayPlugin(memory_size=24, batch_size=16),
        evaluator=quiet(),
        plugins=plugins,
        **options,
    )


def with_steps(budget: StepBudget, *plugins: Any, kind: Any = Naive, **options: Any) -> Any:
    options = {"train_epochs": ENDLESS_EPOCHS, **options}
    if kind in (icarl, contrastive):
        return kind(plugins=[budget, *plugins], **options)
    return stock(kind, plugins=[budget, *plugins], **options)


class TestSteps:
    @pytest.mark.parametrize("steps", [[7, 2, 3], [3, 6, 1]], ids=["uneven", "whole epochs"])
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            pytest.param(Naive, {}, id="Naive"),
            pytest.param(Replay, {"mem_size": 24}, id="Replay"),
            pytest.param(ER_ACE, {"mem_size": 24, "batch_size_mem": 8}, id="ER_ACE"),
            pytest.param(DER, {"mem_size": 24, "batch_size_mem": 8}, id="DER"),
            pytest.param(icarl, {}, id="ICaRL"),
            pytest.param(contrastive, {}, id="ContrastiveReplay"),
        ],
    )
    def test_each_experience_has_exactly_its_steps(self, stream, kind, options, steps):
        reported: list[int] = []
        updates = Witness("after_update", lambda strategy: strategy.clock.train_exp_counter)
        budget = StepBudget(steps, on_step=reported.append)
        strategy = with_steps(budget, updates, kind=kind, **options)
        for experience in stream.train_stream:
            strategy.train(experience)
        assert [updates.seen.count(index) for index in range(3)] == steps
        assert budget.steps_taken == sum(steps)
        assert reported == list(range(1, sum(steps) + 1))
        assert budget.seconds > 0

    def test_experiences_trained_in_one_call(self, stream):
        updates = Witness("after_update", lambda strategy: strategy.clock.train_exp_counter)
        with_steps(StepBudget([4, 5, 6]), updates).train(stream.train_stream)
        assert [updates.seen.count(index) for index in range(3)] == [4, 5, 6]

    def test_mean_loss_is_that_of_the_last_experience(self, stream):
        losses = Witness("after_training_iteration", lambda strategy: strategy.loss.item())
        budget = StepBudget([4, 5])
        strategy = with_steps(budget, losses)
        assert math.isnan(budget.mean_loss)
        strategy.train(stream.train_stream[0])
        assert budget.mean_loss == pytest.approx(sum(losses.seen) / 4)
        strategy.train(stream.train_stream[1])
        assert budget.mean_loss == pytest.approx(sum(losses.seen[4:]) / 5)


class TestBatchSizes:
    @pytest.mark.parametrize(
        ("kind", "options", "batch_sizes"),
        [
            pytest.param(ER_ACE, {"mem_size": 24, "batch_size_mem": 6}, (16, 10), id="ER_ACE"),
            pytest.param(DER, {"mem_size": 24, "batch_size_mem": 6}, (16, 10), id="DER"),
        ],
    )
    def test_steps_forward_equally_many_images_with_a_memory_beside_the_loader(
        self, stream, kind, options, batch_sizes
    ):
        images = Witness("after_update", lambda s: s.model.encoder.images_forwarded)
        budget = StepBudget([4, 4, 4], batch_sizes=batch_sizes)
        strategy = with_steps(budget, images, kind=kind, **options)
        for experience in stream.train_stream:
            strategy.train(experience, drop_last=True)
        assert images.seen == [16 * step for step in range(1, 13)]

    def test_without_them_the_strategys_own_is_left_alone(self, stream):
        images = Witness("after_update", lambda s: s.model.encoder.images_forwarded)
        replay = ReplayPlugin(mem_size=24, batch_size=10, batch_size_mem=6)
        strategy = with_steps(StepBudget([4, 4]), replay, images)
        for experience in stream.train_stream[:2]:
            strategy.train(experience, drop_last=True)
        assert images.seen == [16 * step for step in range(1, 9)]
        assert strategy.train_mb_size == 16


class TestSchedule:
    def test_cosine(self, stream):
        """Each group rises over a tenth of the steps to its own rate, and falls to zero."""
        model = classifier()
        optimizer = torch.optim.SGD(
            [
                {"params": model.encoder.parameters(), "lr": 0.2},
                {"params": model.classifier.parameters(), "lr": 0.1},
            ]
        )
        rates = Witness("before_update", lambda s: [g["lr"] for g in s.optimizer.param_groups])
        strategy = stock(
            Naive,
            model,
            optimizer=optimizer,
            train_epochs=ENDLESS_EPOCHS,
            plugins=[StepBudget([30, 5], schedule="cosine"), rates],
        )
        for experience in stream.train_stream[:2]:
            strategy.train(experience)

        def shape(steps: int, warm_up: int) -> list[float]:
            rise = [(step + 1) / warm_up for step in range(warm_up)]
            fall = [k / (steps - warm_up) for k in range(steps - warm_up)]
            return rise + [(1 + math.cos(math.pi * x)) / 2 for x in fall]

        factors = shape(30, 3) + shape(5, 1)
        assert [rate for rate, _ in rates.seen] == pytest.approx([0.2 * f for f in factors])
        assert [rate for _, rate in rates.seen] == pytest.approx([0.1 * f for f in factors])
        assert factors[2] == factors[3] == 1
        assert 0 < factors[29] < 0.01

    def test_one_step_has_the_full_rate(self, stream):
        rates = Witness("before_update", lambda s: s.optimizer.param_groups[0]["lr"])
        with_steps(StepBudget([1], schedule="cosine"), rates).train(stream.train_stream[0])
        assert rates.seen == [0.05]

    def test_constant_leaves_the_rate_to_others(self, stream):
        rates = Witness("before_update", lambda s: s.optimizer.param_groups[0]["lr"])
        strategy = with_steps(StepBudget([3]), rates)
        strategy.optimizer.param_groups[0]["lr"] = 0.03
        strategy.train(stream.train_stream[0])
        assert rates.seen == [0.03] * 3


class TestParts:
    """Avalanche's `split_online_stream` makes small experiences of each experience."""

    @pytest.mark.parametrize(
        ("size", "steps", "of_parts"),
        [
            pytest.param(16, [6, 3, 9], [2, 2, 2, 1, 1, 1, 3, 3, 3], id="parts of one size"),
            pytest.param(20, [6, 3, 9], [2, 2, 2, 1, 1, 1, 3, 3, 3], id="a smaller last part"),
            pytest.param(48, [2, 3, 4], [2, 3, 4], id="one part"),
        ],
    )
    def test_the_steps_of_an_experience_are_divided_among_its_parts(
        self, stream, size, steps, of_parts
    ):
        updates = Witness("after_update", lambda s: s.clock.train_exp_counter)
        budget = StepBudget(steps)
        strategy = with_steps(budget, updates)
        for part in split_online_stream(stream.train_stream, size, seed=0):
            strategy.train(part)
        assert [updates.seen.count(part) for part in range(len(of_parts))] == of_parts
        assert budget.steps_taken == len(updates.seen) == sum(steps)

    def test_parts_that_are_shorter_because_the_last_one_is_dropped(self, stream):
        budget = StepBudget([4, 4, 4])
        strategy = with_steps(budget)
        for part in split_online_stream(stream.train_stream, 20, drop_last=True, seed=0):
            strategy.train(part)
        assert budget.steps_taken == 12

    def test_online_replay(self, stream):
        updates = Witness("after_update", lambda s: s.clock.train_exp_counter)
        replay = OnlineReplayPlugin(ClassBalancedMemory(24), updates=2)
        strategy = with_steps(StepBudget([10, 10, 10]), updates, replay)
        for part in split_online_stream(stream.train_stream, 10, seed=0):
            strategy.train(part)
        assert [updates.seen.count(part) for part in range(15)] == [2] * 15
        assert replay.memory.state_dict()["seen"] == dict.fromkeys(range(6), 24)

    def test_the_schedule_is_that_of_the_whole_experience(self, stream):
        def rates(train: list[Any]) -> list[float]:
            seen = Witness("before_update", lambda s: s.optimizer.param_groups[0]["lr"])
            strategy = with_steps(StepBudget([30, 15], schedule="cosine"), seen)
            for experience in train:
                strategy.train(experience)
            return seen.seen

        first_two = stream.train_stream[:2]
        parts = list(split_online_stream(first_two, 16, seed=0))
        assert len(parts) == 6
        assert rates(parts) == rates(first_two)

    def test_mean_loss_is_that_of_the_whole_experience(self, stream):
        losses = Witness("after_training_iteration", lambda strategy: strategy.loss.item())
        budget = StepBudget([6, 9, 3])
        strategy = with_steps(budget, losses)
        parts = list(split_online_stream(stream.train_stream, 16, seed=0))
        for part in parts[:3]:
            assert math.isnan(budget.mean_loss)
            strategy.train(part)
        assert budget.mean_loss == pytest.approx(sum(losses.seen) / 6)
        first = budget.mean_loss
        for part in parts[3:6]:
            assert budget.mean_loss == first
            strategy.train(part)
        assert budget.mean_loss == pytest.approx(sum(losses.seen[6:]) / 9)

    def test_seconds_are_those_of_all_parts(self, stream, monkeypatch):
        """Between the parts, time does not count."""
        clock = [0.0]
        monkeypatch.setattr(step_budget.time, "perf_counter", lambda: clock[0])
        working = Witness("after_update", lambda s: clock.append(clock.pop() + 2))
        budget = StepBudget([6, 6, 6])
        strategy = with_steps(budget, working)
        for part in list(split_online_stream(stream.train_stream, 16, seed=0))[:3]:
            strategy.train(part)
            clock[0] += 100
        assert budget.seconds == 12

    def test_steps_that_cannot_be_divided_are_refused(self, stream):
        strategy = with_steps(StepBudget([6, 7, 6]))
        parts = list(split_online_stream(stream.train_stream, 16, seed=0))
        for part in parts[:3]:
            strategy.train(part)
        message = "experience 1 has 7 steps, but comes in 3 parts; give a multiple of that"
        with pytest.raises(RuntimeError, match=message):
            strategy.train(parts[3])

    def test_more_parts_than_steps_are_refused(self, stream):
        strategy = with_steps(StepBudget([2]))
        with pytest.raises(RuntimeError, match="has 2 steps, but comes in 3 parts"):
            strategy.train(next(iter(split_online_stream(stream.train_stream, 16, seed=0))))

    def test_epochs_that_end_first_in_a_part_are_refused(self, stream):
        strategy = with_steps(StepBudget([9]), train_epochs=2)
        part = next(iter(split_online_stream(stream.train_stream, 16, seed=0)))
        with pytest.raises(RuntimeError, match="Naive took 2 of 3 steps in experience 0; give it"):
            strategy.train(part)


class TestDivergence:
    class NaNFrom(nn.Module):
        """Cross-entropy until a step, and then not a number."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step
            self.calls = 0

        def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
            self.calls += 1
            loss = nn.functional.cross_entropy(scores, labels)
            return loss if self.calls <= self.step else loss * math.nan

    def test_is_an_error_within_25_steps(self, stream):
        criterion = self.NaNFrom(28)
        strategy = with_steps(StepBudget([100]), criterion=criterion)
        with pytest.raises(DivergedError) as error:
            strategy.train(stream.train_stream[0])
        assert criterion.calls == 50
        assert str(error.value) == (
            "the loss of Naive became NaN or infinite within the 25 steps before step 50 of "
            "experience 0; lower its learning rate or clip its gradient"
        )

    def test_is_found_at_the_end_of_a_short_experience(self, stream):
        strategy = with_steps(StepBudget([3, 4]), criterion=self.NaNFrom(5))
        strategy.train(stream.train_stream[0])
        with pytest.raises(DivergedError, match="before step 4 of experience 1"):
            strategy.train(stream.train_stream[1])


class TestRefuses:
    def test_an_experience_without_a_batch(self, stream):
        """The loader drops the only batch; epochs without a step would go on for ever."""
        strategy = with_steps(StepBudget([3]), train_mb_size=64)
        with pytest.raises(
            RuntimeError, match="gives Naive no batch: its 48 samples are fewer than"
        ):
            strategy.train(stream.train_stream[0], drop_last=True)

    def test_epochs_that_end_first(self, stream):
        strategy = with_steps(StepBudget([7]), train_epochs=2)
        with pytest.raises(RuntimeError, match="Naive took 6 of 7 steps in experience 0; give it"):
            strategy.train(stream.train_stream[0])

    def test_more_experiences_than_steps(self, stream):
        strategy = with_steps(StepBudget([2]))
        strategy.train(stream.train_stream[0])
        with pytest.raises(RuntimeError, match="steps has 1 entries, and this is experience 1"):
            strategy.train(stream.train_stream[1])

    def test_wrong_arguments(self):
        with pytest.raises(
            ValueError, match=r"steps is \[4, 0\]; every experience needs at least 1"
        ):
            StepBudget([4, 0])
        with pytest.raises(ValueError, match=r"schedule is 'linear'; it must be .*'cosine'"):
            StepBudget([4], schedule="linear")
