"""The contrastive loss of Co2L, which knows the current classes from the replay plugin."""

from __future__ import annotations

from torch import Tensor, nn

from simo_cl.losses.arguments import check_positive
from simo_cl.losses.asymmetric_supcon import asymmetric_supcon
from simo_cl.training.replay import Replay


class AsymmetricSupCon(nn.Module):
    """:func:`simo_cl.losses.asymmetric_supcon.asymmetric_supcon` with the samples of the current
    experience's classes as anchors, wherever in a batch they stand.

    Args:
        replay: the plugin that makes the batches.
        temperature: positive.

    Raises:
        ValueError: a temperature that is not positive.

    Example:
        >>> from simo_cl.training import BalancedReplayPlugin
        >>> replay = BalancedReplayPlugin(memory_size=200, batch_size=64)
        >>> loss = AsymmetricSupCon(replay)  # of ContrastiveReplay, with the same replay
        >>> replay.new_classes = torch.tensor([4, 5])  # which training on an experience sets
        >>> loss(torch.eye(4), torch.tensor([4, 4, 0, 0]))
        tensor(0.5493)
    """

    def __init__(self, replay: Replay, *, temperature: float = 0.1) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature
        self._replay = replay

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings (N, d) and labels (N,) to a scalar."""
        is_current = (labels[:, None] == self._replay.new_classes).any(dim=1)
        return asymmetric_supcon(embeddings, labels, is_current, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
