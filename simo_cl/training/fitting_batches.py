"""Batches no larger than what there is to fill them."""

from __future__ import annotations

from typing import Any

from avalanche.training.plugins import ReplayPlugin, SupervisedPlugin


class FittingBatches(SupervisedPlugin):
    """Lowers a strategy's batch sizes to what data and memory have, one experience at a time.

    Avalanche's loaders drop a batch that is not full, so that an experience smaller than a batch
    would give none, and a memory smaller than its batch would not be replayed, without a word.

    It is to come after plugins that add to an experience's data, as iCaRL's does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[tuple[int, str], int | None] = {}

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        # Here, because ER-ACE and DER make the memory's loader before an experience's first hook.
        strategy.train_mb_size = self._as_given(strategy, "train_mb_size")
        for owner in (strategy, *strategy.plugins):
            if hasattr(owner, "batch_size_mem") and hasattr(owner, "storage_policy"):
                size = self._as_given(owner, "batch_size_mem") or strategy.train_mb_size
                held = len(owner.storage_policy.buffer)
                owner.batch_size_mem = min(size, held) if held else size

    def after_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        samples = len(strategy.adapted_dataset)
        strategy.train_mb_size = min(strategy.train_mb_size, samples)
        for plugin in strategy.plugins:
            if isinstance(plugin, ReplayPlugin):
                size = self._as_given(plugin, "batch_size") or strategy.train_mb_size
                plugin.batch_size = min(size, samples)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is remembered from one experience to the next."""

    def _as_given(self, owner: Any, name: str) -> Any:
        """An attribute as it was before this plugin first changed it."""
        return self._given.setdefault((id(owner), name), getattr(owner, name))
