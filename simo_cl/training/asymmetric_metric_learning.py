"""The two losses of ER-AML, for batches of new data and memory from one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.losses.arguments import check_positive
from simo_cl.losses.asymmetric_metric import asymmetric_metric_loss
from simo_cl.training.replay import Replay, refuse_views, refuse_without_current_samples


class AsymmetricMetricLoss(nn.Module):
    """:func:`simo_cl.losses.asymmetric_metric.asymmetric_metric_loss` of a batch's new samples, for
    :class:`simo_cl.SimOPlugin`; 0 while there is no memory.

    Args:
        replay: the plugin that makes the batches, with one view.
        temperature: positive.

    Raises:
        ValueError: more than one view, or a temperature that is not positive.

    Example:
        >>> from simo_cl.training import ClassBalancedMemory, OnlineReplayPlugin, SimOPlugin
        >>> replay = OnlineReplayPlugin(ClassBalancedMemory(200))
        >>> loss = AsymmetricMetricLoss(replay)
        >>> plugins = [replay, SimOPlugin(1.0, loss)]  # of Naive
        >>> replay.new_samples = 2  # which every batch sets
        >>> loss(torch.eye(5), torch.tensor([4, 5, 4, 5, 0]))
        tensor(1.0986)
    """

    def __init__(self, replay: Replay, *, temperature: float = 0.1) -> None:
        super().__init__()
        refuse_views(replay, "ER-AML")
        check_positive(temperature=temperature)
        self.temperature = temperature
        self._replay = replay

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features (N, d) and labels (N,) to a scalar."""
        new = self._replay.new_samples
        if new == len(labels):
            return features.new_zeros(())
        return asymmetric_metric_loss(features, labels, new, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


class MemoryCrossEntropy(nn.Module):
    """Cross-entropy of the memory's part of a batch, over all classes.

    While there is no memory, and without gradients, as in evaluation, it is that of all samples.

    Args:
        replay: the plugin that makes the batches, with one view and current samples in its memory,
            by which the current classes are learnt.

    Raises:
        ValueError: more than one view, or a memory that the current samples enter only when their
            experience is over.

    Example:
        >>> from simo_cl.training import ClassBalancedMemory, OnlineReplayPlugin
        >>> replay = OnlineReplayPlugin(ClassBalancedMemory(200))
        >>> loss = MemoryCrossEntropy(replay)  # the criterion of Naive, with replay as a plugin
        >>> replay.new_samples = 2  # which every batch sets
        >>> loss(torch.zeros(3, 6), torch.tensor([4, 5, 0]))
        tensor(1.7918)
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        refuse_without_current_samples(replay, "ER-AML")
        self._replay = replay

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Scores (N, classes) and labels (N,) to a scalar."""
        new = self._replay.new_samples
        if not torch.is_grad_enabled() or new == len(labels):
            return F.cross_entropy(scores, labels)
        return F.cross_entropy(scores[new:], labels[new:])
