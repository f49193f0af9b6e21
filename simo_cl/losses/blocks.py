"""How much the loss works on at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# On a CPU a block of this size and its few temporaries stay in a core's cache; other devices need
# larger blocks to be busy.
NUMBERS_IN_A_BLOCK_ON_CPU = 2**18
NUMBERS_IN_A_BLOCK = 2**25


def at_once(numbers: int, device: torch.device) -> int:
    """How many things of so many `numbers` each make one block, at least one."""
    limit = NUMBERS_IN_A_BLOCK_ON_CPU if device.type == "cpu" else NUMBERS_IN_A_BLOCK
    return max(1, limit // numbers)


def parts(things: int, numbers: int, device: torch.device) -> Iterator[slice]:
    """The blocks of so many `things`."""
    step = at_once(numbers, device)
    for first in range(0, things, step):
        yield slice(first, first + step)
