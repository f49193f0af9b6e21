"""Few and large parallel regions on a CPU.

An operator that torch runs on several threads ends when the last of them does. Where other
processes hold the cores, each such end waits for the scheduler, for milliseconds, and a loss has
dozens of them. So a small batch is computed by one thread, and of a large one each thread takes
whole blocks, with all their operators.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from simo_cl.losses.blocks import at_once
from simo_cl.losses.layout import can_be_read

Item = TypeVar("Item")


@contextmanager
def as_few_threads_as_fit(numbers: int, x: Tensor) -> Iterator[None]:
    """Torch computes on one thread where so many numbers fit into a block, if `x` is on a CPU."""
    threads = _threads(x)
    if threads == 1 or numbers > at_once(1, x.device):
        yield
        return
    with _one_thread(threads):
        yield


def share_out(work: Callable[[Item], None], items: Sequence[Item], x: Tensor) -> None:
    """Does the `work` of every item; if `x` is on a CPU, as many at once as torch has threads.

    Each runs on one thread. Which of them does an item changes no bit of it; items must not write
    to one place. A thread that the scheduler keeps waiting is not waited for, unless it has begun.
    """
    threads = _threads(x) if len(items) > 1 else 1
    if threads == 1:
        for item in items:
            work(item)
        return
    left = deque(items)
    inference = torch.is_inference_mode_enabled()

    def take() -> None:
        with _one_thread(threads), torch.inference_mode(inference), torch.no_grad():
            while left:
                try:
                    item = left.popleft()
                except IndexError:  # another thread was faster
                    return
                work(item)

    others = [_pool(threads - 1).submit(take) for _ in range(min(threads, len(left)) - 1)]
    try:
        take()
    finally:
        left.clear()
        begun = [other for other in others if not other.cancel()]
        for other in begun:
            other.exception()
    for other in begun:
        other.result()


def sum_over(
    blocks: Iterable[tuple[Any, ...]],
    add: Callable[[tuple[Any, ...], Tensor], None],
    total: Tensor,
) -> None:
    """Adds what `add` adds of every block; whichever is done first, they add up in one order."""
    blocks = list(blocks)
    if len(blocks) == 1:
        add(blocks[0], total)
        return
    sums = total.new_zeros(len(blocks))
    share_out(lambda item: add(*item), list(zip(blocks, sums, strict=True)), total)
    total += sums.sum()


def _threads(x: Tensor) -> int:
    return torch.get_num_threads() if can_be_read(x) else 1


@contextmanager
def _one_thread(threads: int) -> Iterator[None]:
    """Torch computes on one thread here, and then on so many again.

    For all of the process, and yet for this thread alone: any other has a number of its own, which
    is the process's at the time of its first operator that is large enough to be divided.
    """
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="simo_loss")


# A forked process has the pools, but not their threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
