"""SimO as an additional loss of any Avalanche strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.supervised import SCR
from torch import Tensor, nn

from simo_cl.losses import SimOLoss
from simo_cl.losses.arguments import check_not_negative
from simo_cl.models.feature_hook import FeatureHook
from simo_cl.models.pooling import Pool


class SimOPlugin(SupervisedPlugin):
    """Adds ``weight * loss(features, labels)`` to the strategy's own loss in every iteration.

    The features are those of the strategy's first forward pass of the iteration. Replayed samples
    count where the strategy forwards them together with the new ones (replay, DER); where it
    forwards them in a pass of its own (ER-ACE, MIR) the term covers the new samples only. Frozen
    copies of the model and virtual updates never count. Of SCR both views count, each
    with its label.

    Args:
        weight: of the added term, 0 or more.
        loss: called as ``loss(embeddings, labels)``; by default :class:`simo_cl.SimOLoss`, in its
            pairwise form. ``SimOLoss(form="kernel", bias=0.1)`` is another. Weights that it has
            train as the head's.
        layer: the submodule whose output is used, by name; by default the input of the model's last
            ``nn.Linear``, and of an ``SCRModel`` the output of its ``feature_extractor``. Feature
            maps and tokens are averaged over their positions where it is known which axis is the
            channels', and refused elsewhere; see :class:`simo_cl.models.feature_hook.FeatureHook`.
        pool: makes features (N, d) of the layer's output, instead of that average.
        head: an optional projection head between features and loss. It trains with the first
            parameter group of the strategy's optimizer and stays out of the model.

    Raises:
        TypeError, ValueError: a weight that is no number, negative or not finite.

    Example:
        >>> from avalanche.training.supervised import Naive
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> strategy = Naive(model=model, optimizer=optimizer, plugins=[SimOPlugin(weight=0.5)])
    """

    def __init__(
        self,
        weight: float = 1.0,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        layer: str | None = None,
        head: nn.Module | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        check_not_negative(weight=weight)
        self.weight = weight
        self.loss = SimOLoss() if loss is None else loss
        self.head = head
        self._hook = FeatureHook(layer, pool)

    def state_dict(self) -> dict[str, Any]:
        """That of the head, and of a loss that learns."""
        return {name: part.state_dict() for name, part in self._modules().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._modules().items():
            part.load_state_dict(state[name])

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        # Avalanche rebuilds the parameter groups around the model's own parameters before every
        # experience. A group of its own would break one-cycle schedules, and a submodule of the
        # model has no unique group when there are several.
        group = strategy.optimizer.param_groups[0]
        present = {id(p) for g in strategy.optimizer.param_groups for p in g["params"]}
        for part in self._modules().values():
            part.to(strategy.device).train()
            added = {id(p): p for p in part.parameters() if id(p) not in present}
            group["params"].extend(added.values())
            present.update(added)

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        self._hook.attach(strategy.model)

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        self._hook.detach()

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        labels = strategy.mb_y
        if isinstance(strategy, SCR):
            # Its batch is all images, then a second view of all of them, with one set of labels.
            labels = labels.repeat(2)
        # Not kept any longer: it would hold the graph, and a strategy that has it has no deepcopy.
        features = self._hook.take(strategy.model, len(labels))
        embeddings = features if self.head is None else self.head(features)
        strategy.loss += self.weight * self.loss(embeddings, labels)

    def _modules(self) -> dict[str, nn.Module]:
        """What may have weights."""
        parts = {"head": self.head, "loss": self.loss}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
