"""A loss of pytorch-metric-learning together with its miner, behind one call."""

from __future__ import annotations

from torch import Tensor, nn


class MinedLoss(nn.Module):
    """``loss(embeddings, labels, miner(embeddings, labels))``.

    Args:
        loss: a loss of pytorch-metric-learning.
        miner: picks the pairs or triplets that it sees; all of them if ``None``.
    """

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        chosen = self.miner(embeddings, labels) if self.miner is not None else None
        return self.loss(embeddings, labels, chosen)
