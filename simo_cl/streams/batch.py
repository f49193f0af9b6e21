"""What a data loader gives for a batch of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map_only


class Batch:
    """Images, labels and the rest, of which any loader can pin what can be pinned.

    A loader with ``pin_memory=True``, as Avalanche builds for CUDA, asks a batch of a type of its
    own to pin itself. Tensors that are on a device already cannot be pinned, and need not be.

    It is used as a list and is none: of a list, torch's loaders pin the items and do not ask, or
    ask first, according to torch's version.

    Args:
        parts: tensors, or anything with tensors in it.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = list(parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def __getitem__(self, index: Any) -> Any:
        return self._parts[index]

    def __setitem__(self, index: Any, part: Any) -> None:
        self._parts[index] = part

    def pin_memory(self) -> Batch:
        """The same batch, with what lies in host memory in pinned host memory."""
        return Batch(tree_map_only(Tensor, _pinned, self._parts))


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor
