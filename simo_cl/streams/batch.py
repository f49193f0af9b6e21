"""What a data loader gives for a batch of rows."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map_only


class Batch(list[Any]):
    """Images, labels and the rest: a list, of which any loader can pin what can be pinned.

    A loader with ``pin_memory=True``, as Avalanche builds for CUDA, asks a batch of a type of its
    own to pin itself. Tensors that are on a device already cannot be pinned, and need not be.

    Example:
        >>> images, labels = Batch([torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])]).pin_memory()
    """

    def pin_memory(self) -> Batch:
        """The same batch, with what lies in host memory in pinned host memory."""
        return Batch(tree_map_only(Tensor, _pinned, list(self)))


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor
