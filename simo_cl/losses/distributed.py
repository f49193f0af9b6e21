"""The whole batch on every rank, gathered once with its gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from simo_cl.losses.first_order import first_order_only


def gather_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and labels of all ranks, by rank and then by position, on every rank.

    Ranks may hold different numbers of rows, none included. Every rank goes on to compute the same
    loss L, hence the same gradient of it, so nothing is exchanged on the way back. The gradient
    that arrives at a rank's own rows is that of `world_size * L`: DistributedDataParallel averages
    over the ranks, and that average is then the gradient of L.

    Raises:
        RuntimeError: no process group is initialised.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "distributed=True needs a process group: call torch.distributed.init_process_group "
            "first, or leave distributed out"
        )
    own = torch.tensor([len(labels)], device=embeddings.device)
    counts = [int(count) for count in _all_gather(own, [1] * dist.get_world_size())]
    return _GatherRows.apply(embeddings, counts), _all_gather(labels.long(), counts)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        ctx.ranks = len(counts)
        return _all_gather(rows, counts)

    @staticmethod
    @first_order_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[ctx.own] * ctx.ranks, None


def _all_gather(rows: Tensor, counts: list[int]) -> Tensor:
    """`counts[r]` rows of every rank r; collectives need equal shapes, so they travel padded."""
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])
