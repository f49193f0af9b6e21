"""A fixed number of optimizer steps an experience, whatever the strategy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from avalanche.training.plugins import SupervisedPlugin

Schedule = Literal["constant", "cosine"]

ENDLESS_EPOCHS = 10**9
"""Epochs to give a strategy whose training a :class:`StepBudget` ends."""

_WARM_UP = 0.1
_STEPS_BETWEEN_CHECKS = 25
_REMEMBERED = (
    "steps_taken",
    "mean_loss",
    "_experience",
    "_parts_left",
    "_steps_of_part",
    "_step",
    "_step_at_epoch",
    "_learning_rates",
)


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""


class StepBudget(SupervisedPlugin):
    """Ends the training on each experience after a given number of optimizer steps.

    Strategies differ in what they call an epoch: their loaders are as long as the new data, the
    memory, or both. Steps are what they have in common. An experience that comes in parts, from
    Avalanche's ``split_online_stream``, has its steps divided equally among them.

    Args:
        steps: optimizer steps for each experience, in order. The strategy needs enough epochs for
            them: ``train_epochs=ENDLESS_EPOCHS``.
        schedule: ``"constant"``, or ``"cosine"``: within each experience the learning rate of each
            parameter group rises linearly over the first tenth of the steps and falls to zero
            along a cosine.
        batch_sizes: samples that the strategy's own loader gives a step, in the first experience
            and in the later ones, for strategies that read their memory beside that loader;
            ``None`` leaves the strategy's setting alone.
        on_step: called after every step with the number of steps taken in all.

    Attributes:
        steps_taken: in all experiences together.
        seconds: of training, in all experiences together.
        mean_loss: over the last experience.

    Raises:
        DivergedError: within 25 steps after the loss became NaN or infinite. Looking more often
            would make a GPU wait.
        RuntimeError: an experience that cannot have its steps, because there is none for it in
            ``steps``, its loader gives no batch, the strategy's epochs end first, or they cannot be
            divided among its parts.
        ValueError: a number of steps below 1, or an unknown schedule.
    """

    def __init__(
        self,
        steps: Sequence[int],
        *,
        schedule: Schedule = "constant",
        batch_sizes: tuple[int, int] | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        if any(count < 1 for count in steps):
            raise ValueError(f"steps is {list(steps)}; every experience needs at least 1")
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule is {schedule!r}; it must be one of {get_args(Schedule)}")
        self.steps = list(steps)
        self.schedule = schedule
        self.batch_sizes = batch_sizes
        self.on_step = on_step
        self.steps_taken = 0
        self.seconds = 0.0
        self.mean_loss = math.nan
        self._experience = 0
        self._parts_left = 0
        self._steps_of_part = 0
        self._step = 0
        self._step_at_epoch = 0
        self._loss_sum: torch.Tensor | float = 0.0
        self._learning_rates: list[float] = []
        self._started: float | None = None

    def before_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()
        if self.batch_sizes is not None:
            strategy.train_mb_size = self.batch_sizes[min(self._experience, 1)]

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        if self._parts_left == 0:
            self._begin_experience(_parts_of(strategy.experience))
            if not self._learning_rates:
                self._learning_rates = [group["lr"] for group in strategy.optimizer.param_groups]

    def _begin_experience(self, parts: int) -> None:
        if self._experience >= len(self.steps):
            raise RuntimeError(
                f"steps has {len(self.steps)} entries, and this is experience {self._experience}, "
                "counted from 0; give a number of steps for each experience"
            )
        if self._current_steps % parts:
            raise RuntimeError(
                f"experience {self._experience} has {self._current_steps} steps, but comes in "
                f"{parts} parts; give a multiple of that"
            )
        self._parts_left = parts
        self._steps_of_part = self._current_steps // parts
        self._step = 0
        self._loss_sum = 0.0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self._step_at_epoch = self._step

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        if self._step == self._step_at_epoch:
            raise RuntimeError(
                f"experience {self._experience} gives {type(strategy).__name__} no batch: its "
                f"{len(strategy.adapted_dataset)} samples are fewer than a batch of "
                f"{strategy.train_mb_size} with drop_last; choose a smaller batch"
            )

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if self.schedule == "cosine":
            factor = _warm_up_and_cosine(self._step, self._current_steps)
            groups = strategy.optimizer.param_groups
            for group, learning_rate in zip(groups, self._learning_rates, strict=True):
                group["lr"] = learning_rate * factor

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self._loss_sum = self._loss_sum + strategy.loss.detach()
        self._step += 1
        self.steps_taken += 1
        end_of_part = self._step % self._steps_of_part == 0
        if self._step >= self._current_steps or self._step % _STEPS_BETWEEN_CHECKS == 0:
            self._check(strategy)
        if end_of_part:
            strategy.stop_training()
        if self.on_step is not None:
            self.on_step(self.steps_taken)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.seconds += self._running_seconds()
        self._started = None
        self._parts_left -= 1
        wanted = self._current_steps - self._parts_left * self._steps_of_part
        if self._step < wanted:
            raise RuntimeError(
                f"{type(strategy).__name__} took {self._step} of {wanted} steps in "
                f"experience {self._experience}; give it train_epochs=ENDLESS_EPOCHS"
            )
        if self._parts_left == 0:
            self.mean_loss = float(self._loss_sum) / self._step
            self._experience += 1

    def state_dict(self) -> dict[str, Any]:
        """How far training has come, and the seconds it took."""
        return {
            **{name: getattr(self, name) for name in _REMEMBERED},
            "seconds": self.seconds + self._running_seconds(),
            "loss_sum": self._loss_sum,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Within an experience, to be called once training on it has begun."""
        for name in _REMEMBERED:
            setattr(self, name, state[name])
        self._loss_sum = state["loss_sum"]
        self.seconds = state["seconds"]
        if self._started is not None:
            self._started = time.perf_counter()

    @property
    def experience(self) -> int:
        """0-based number of the experience in training, or of the next one between two."""
        return self._experience

    @property
    def within_undivided_experience(self) -> bool:
        """Whether training on an experience that does not come in parts has steps left."""
        undivided = self._parts_left == 1 and self._steps_of_part == self._current_steps
        return undivided and self._step < self._current_steps

    @property
    def _current_steps(self) -> int:
        return self.steps[self._experience]

    def _running_seconds(self) -> float:
        return 0.0 if self._started is None else time.perf_counter() - self._started

    def _check(self, strategy: Any) -> None:
        if not math.isfinite(float(self._loss_sum)):
            raise DivergedError(
                f"the loss of {type(strategy).__name__} became NaN or infinite within the "
                f"{_STEPS_BETWEEN_CHECKS} steps before step {self._step} of experience "
                f"{self._experience}; lower its learning rate or clip its gradient"
            )


def _warm_up_and_cosine(step: int, steps: int) -> float:
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _parts_of(experience: Any) -> int:
    """How many small experiences an experience was split into; 1 if it was not."""
    # Avalanche hides this from strategies, but not from what is logged.
    return getattr(experience.logging(), "sub_stream_length", None) or 1
