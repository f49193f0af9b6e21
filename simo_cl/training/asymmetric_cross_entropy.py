"""The loss of ER-ACE, for batches of new data and memory from one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.training.replay import Replay, refuse_without_current_samples


class AsymmetricCrossEntropy(nn.Module):
    """Asymmetric cross-entropy (Caccia et al., New Insights on Reducing Abrupt Representation
    Change in Online Continual Learning, ICLR 2022).

    The new samples' cross-entropy sees only the classes among them, so that it does not push the
    scores of older classes down; the memory's sees all classes. So the memory must hold the current
    classes, too. Without gradients, as in evaluation, it is the ordinary cross-entropy.

    Args:
        replay: the plugin that makes the batches, with one view and current samples in its memory.

    Raises:
        ValueError: more than one view, or a memory that the current samples enter only when their
            experience is over.

    Example:
        >>> from simo_cl.training import ClassBalancedMemory, OnlineReplayPlugin
        >>> replay = OnlineReplayPlugin(ClassBalancedMemory(200))
        >>> loss = AsymmetricCrossEntropy(replay)  # the criterion of Naive, with replay as a plugin
        >>> replay.new_samples = 2  # which every batch sets
        >>> loss(torch.zeros(3, 6), torch.tensor([4, 5, 0]))
        tensor(1.2425)
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        refuse_without_current_samples(replay, "ER-ACE")
        self._replay = replay

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Scores (N, classes) and labels (N,) to a scalar; half of it is the memory's."""
        new = self._replay.new_samples
        if not torch.is_grad_enabled() or new == len(labels):
            return F.cross_entropy(scores, labels)
        absent = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
        absent.index_fill_(0, labels[:new], False)
        of_new = F.cross_entropy(scores[:new].masked_fill(absent, -torch.inf), labels[:new])
        return (of_new + F.cross_entropy(scores[new:], labels[new:])) / 2
