"""What the ranks of a process group tell each other: their rows and labels.

Every rank goes on to compute the same loss L of the whole batch, hence the same gradient of it, so
nothing is exchanged on the way back. The gradient that arrives at a rank's own rows is that of
`world_size * L`: DistributedDataParallel averages over the ranks, and that average is then the
gradient of L.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from simo_cl.losses.first_order import first_order_only


def gather(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The embeddings of all ranks, by rank and then by position, and their labels, on the host.

    Ranks may hold different numbers of rows, none included. Waits for the device.

    Args:
        embeddings: (N, d), this rank's rows.
        labels: (N,) integers.

    Raises:
        RuntimeError: no process group is initialised.
        ValueError: the ranks' embeddings differ in d.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "distributed=True needs a process group: call torch.distributed.init_process_group "
            "first, or leave distributed out"
        )
    shape = torch.tensor([embeddings.shape], device=embeddings.device)
    shares, columns = _all_gather(shape, [1] * dist.get_world_size()).T.tolist()
    if len(set(columns)) > 1:
        raise ValueError(
            "embeddings must have the same number of columns on every rank, got "
            f"{columns} on ranks 0 to {len(columns) - 1}"
        )
    return _GatherRows.apply(embeddings, shares), _all_gather(labels.long(), shares).cpu()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, shares: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        return _all_gather(rows, shares)

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        own = grad[ctx.own] * dist.get_world_size()
        if own.dtype == torch.float16:  # the limit that a single process keeps, too
            largest = torch.finfo(own.dtype).max
            own.clamp_(-largest, largest)
        return own, None


def _all_gather(rows: Tensor, shares: list[int]) -> Tensor:
    """`shares[r]` rows of every rank r; collectives need equal shapes, so they travel padded."""
    padded = rows.new_zeros(max(shares), *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in shares]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:share] for part, share in zip(gathered, shares, strict=True)])
