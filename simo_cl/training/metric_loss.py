"""A loss of pytorch-metric-learning by the name of its class."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from types import ModuleType
from typing import Any

import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.losses import BaseMetricLossFunction
from pytorch_metric_learning.miners import BaseMiner
from torch import Tensor, nn

from simo_cl.registry import did_you_mean
from simo_cl.training.mined_loss import MinedLoss


def metric_loss(
    loss: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    miner: str | None = None,
    miner_arguments: Mapping[str, Any] | None = None,
    num_classes: int,
    embedding_size: int,
) -> MinedLoss:
    """Any loss of pytorch-metric-learning that is computed from embeddings and labels.

    Args:
        loss: the name of its class in ``pytorch_metric_learning.losses``.
        arguments: for its constructor. A loss that requires ``num_classes`` and ``embedding_size``,
            as those with weights for each class do, is given them (``descriptors_dim``, too).
        miner: the name of a class in ``pytorch_metric_learning.miners``, or ``None`` for all pairs.
        miner_arguments: for the miner's constructor.
        num_classes: of the whole stream.
        embedding_size: dimensions of the embeddings.

    Raises:
        ValueError: the library has no such class, refuses the arguments, or cannot compute the loss
            of four embeddings with labels; or the loss remembers what it does not say.

    Example:
        >>> loss = metric_loss(
        ...     "ProxyAnchorLoss", {"margin": 0.2}, num_classes=10, embedding_size=128
        ... )
        >>> [tuple(weights.shape) for weights in loss.parameters()]
        [(10, 128)]
    """
    given = {
        "num_classes": num_classes,
        "embedding_size": embedding_size,
        "descriptors_dim": embedding_size,
    }
    made = MinedLoss(
        _make(losses, BaseMetricLossFunction, loss, arguments or {}, given),
        None if miner is None else _make(miners, BaseMiner, miner, miner_arguments or {}, given),
    )
    _try(made, num_classes, embedding_size)
    return made


def _make(
    module: ModuleType,
    base: type,
    name: str,
    arguments: Mapping[str, Any],
    given: Mapping[str, int],
) -> nn.Module:
    kinds = {key: kind for key, kind in vars(module).items() if _is_one_of(kind, base)}
    if name not in kinds:
        raise ValueError(
            f"{module.__name__} has no {name}; it has {', '.join(kinds)}."
            f"{did_you_mean(name, kinds)}"
        )
    required = {key: given[key] for key in given.keys() & _required(kinds[name])}
    try:
        return kinds[name](**{**required, **arguments})
    except Exception as error:
        raise ValueError(f"{name} cannot be made of {dict(arguments)}: {error}") from error


def _is_one_of(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base) and kind is not base


def _required(kind: type) -> set[str]:
    """Arguments without a default, of its constructor or of one that this passes them on to."""
    return {
        name
        for base in kind.__mro__[:-1]
        for name, parameter in signature(base.__init__).parameters.items()  # type: ignore[misc]
        if parameter.default is Parameter.empty
    }


def _try(loss: MinedLoss, num_classes: int, embedding_size: int) -> None:
    points = torch.randn(4, embedding_size, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1]).clamp_max(num_classes - 1)
    names = [type(part).__name__ for part in (loss.loss, loss.miner) if part is not None]
    before = _outside_of_state(loss)
    try:
        with torch.no_grad():
            loss(points, labels)
    except Exception as error:
        raise ValueError(
            f"{' with '.join(names)} cannot be computed of embeddings and labels alone: "
            f"{type(error).__name__}: {error}"
        ) from error
    after = _outside_of_state(loss)
    kept = [name for name, value in before.items() if not torch.equal(value, after[name])]
    if kept:
        raise ValueError(
            f"{' with '.join(names)} keeps {', '.join(kept)} from one step for the next outside of "
            "its state_dict(), so that a run could not be resumed"
        )


def _outside_of_state(loss: nn.Module) -> dict[str, Tensor]:
    """Tensors that are neither parameters nor buffers."""
    return {
        f"{type(part).__name__}.{name}": value
        for part in loss.modules()
        for name, value in vars(part).items()
        if isinstance(value, Tensor)
    }
