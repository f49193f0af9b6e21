"""Write a run's checkpoints while it trains, and go on from the last."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from avalanche.training.plugins import SupervisedPlugin

from simo_cl.harness.checkpoint import Checkpoints
from simo_cl.harness.evaluation import Evaluation
from simo_cl.harness.plan import PlannedRun
from simo_cl.results import RunFolder
from simo_cl.streams import DataError, DataSet
from simo_cl.training.avalanche_state import NotResumableError, State
from simo_cl.training.balanced_replay import BalancedReplayPlugin
from simo_cl.training.generators import global_generators, set_global_generators
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.step_budget import StepBudget
from simo_cl.training.strategy_state import load_optimizer, load_strategy, portable, save_strategy


def load_state(run: PlannedRun, data: DataSet, folder: RunFolder) -> State | None:
    """The state of a run to go on from, if there is one.

    Raises:
        DataError: the data are not those that the run began with.

    Warns:
        UserWarning: a checkpoint cannot be used.
    """
    state = Checkpoints(folder.path).load()
    if state is None:
        return None
    if state["data"] != data.digest:
        raise DataError(
            f"{folder.path}: the run began on other data than those found now ({data.note}); its "
            "results would be of neither. Bring the data back, or delete that folder and begin "
            "anew, or write to another one with --results"
        )
    if state["run"] != run.digest:
        warnings.warn(
            f"{folder.path} has the checkpoint of another run; this one begins anew", stacklevel=2
        )
        return None
    return state


class Resumption(SupervisedPlugin):
    """Saves a run between experiences and, every so many minutes, within one.

    Within an experience, a strategy whose batches come from our replay plugins is saved at any
    step, another one between two epochs. One that replays from an endless loader (Avalanche's
    ER-ACE, DER and MIR) is not saved there: where such a loader is cannot be told.

    It is the last of the strategy's plugins.

    Args:
        run: that is executed.
        data: its data set; a run goes on only with the data it began with.
        folder: of the run.
        strategy: built, not yet trained.
        budget: the strategy's.
        evaluation: of the strategy.

    Warns:
        UserWarning: the strategy cannot be saved.
    """

    def __init__(
        self,
        run: PlannedRun,
        data: DataSet,
        folder: RunFolder,
        strategy: Any,
        budget: StepBudget,
        evaluation: Evaluation,
    ) -> None:
        super().__init__()
        self._identity = {"run": run.digest, "data": data.digest}
        self._minutes = run.checkpoint_minutes
        self._folder = folder
        self._strategy = strategy
        self._budget = budget
        self._evaluation = evaluation
        self._checkpoints = Checkpoints(folder.path)
        self._saved_at = time.monotonic()
        self._saves = True
        self._state: State = {}
        self._data: Any = None
        self._goes_on = False
        strategy.plugins.append(self)

    def restore(self, state: State, data: Any) -> tuple[int, int]:
        """Brings strategy and evaluation back.

        Args:
            state: from :func:`load_state`.
            data: a data set whose store has the rows in the strategy's memory.

        Returns:
            Where training goes on: the experience, and the part of it if it comes in parts.

        Raises:
            NotResumableError: the strategy is not as it was saved; it is to be built anew.
        """
        try:
            load_strategy(self._strategy, state["strategy"], data)
            self._evaluation.load_state_dict(state["evaluation"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            # As of an encoder, registered by the user, that is another one now.
            raise NotResumableError(f"it does not fit what is built now: {error}") from error
        self._state, self._data, self._goes_on = state, data, True
        return state["experience"], state["part"]

    def forget(self) -> None:
        """Deletes the checkpoints."""
        self._checkpoints.remove()

    def between(self, experience: int, part: int = 0) -> None:
        """Called before training on an experience, or on a part of one, and after the last.

        Saves the run, unless it goes on from here.
        """
        if self._goes_on:
            if self._state["generators"] is not None:
                set_global_generators(self._state["generators"], self._strategy.device)
        elif part == 0 or self._is_due():
            self._state = {
                **self._identity,
                "experience": experience,
                "part": part,
                "lines": list(self._folder.lines),
                "evaluation": portable(self._evaluation.state_dict()),
                "generators": global_generators(self._strategy.device) if part else None,
            }
            self._save(lambda: {"strategy": save_strategy(self._strategy), "inside": None})

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        # Only now: what precedes the first epoch empties the optimizer and fills memories.
        if not self._goes_on:
            return
        self._goes_on = False
        load_optimizer(strategy, self._state["strategy"])
        inside = self._state["inside"]
        if inside is not None:
            load_strategy(strategy, inside["strategy"], self._data)
            load_optimizer(strategy, inside["strategy"])
            set_global_generators(inside["generators"], strategy.device)

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        ours = (BalancedReplayPlugin, OnlineReplayPlugin)
        if self._is_due() and any(isinstance(plugin, ours) for plugin in strategy.plugins):
            self._save_inside()

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        if self._is_due():
            self._save_inside()

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        """A checkpoint holds nothing of this plugin's own."""

    def _is_due(self) -> bool:
        return self._saves and time.monotonic() - self._saved_at > 60 * self._minutes

    def _save_inside(self) -> None:
        strategy = self._strategy
        endless = [getattr(p, "replay_loader", None) for p in (strategy, *strategy.plugins)]
        if self._budget.within_undivided_experience and not any(endless):
            self._save(
                lambda: {
                    "inside": {
                        "strategy": save_strategy(strategy),
                        "generators": global_generators(strategy.device),
                    }
                }
            )

    def _save(self, rest: Callable[[], State]) -> None:
        if not self._saves:
            return
        try:
            self._state = {**self._state, **rest()}
        except NotResumableError as error:
            self._saves = False
            warnings.warn(
                f"this run cannot be saved and begins anew if it is interrupted: {error}",
                stacklevel=2,
            )
            return
        self._checkpoints.save(self._state)
        self._saved_at = time.monotonic()
