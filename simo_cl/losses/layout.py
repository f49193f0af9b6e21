"""From labels to the groups of the loss: each class, the class means, the k-th samples.

The rows of a batch are put in class order once, by a stable sort, so that the k-th sample of a
class is the k-th in batch order. What the groups look like then depends on what the host knows of
the labels; it never waits for a device to tell it:

- every class has the same number of samples, as told by the caller or seen: `Balanced`, a reshape;
- the labels can be read at no cost (eagerly, on a CPU): `Ragged`, groups of like size padded to
  one block;
- neither: `Unread`, the whole batch in one block in which equal keys belong together: O(N^2) time
  instead of O(N (K + C)), and no shape that depends on a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

PADDED_AT_MOST = 4 / 3  # the largest over the smallest group of a padded block


class Block(NamedTuple):
    """Groups in one tensor: `points` (groups, n, d) and `keys` (groups, n), or None for no padding.

    Rows of one entry belong together where their keys are equal. A negative key is padding, met
    once, and its row is zero. `mixed`: an entry holds several groups, told apart by their keys.
    """

    points: Tensor
    keys: Tensor | None = None
    mixed: bool = False


class Groups(NamedTuple):
    """The groups of one term: `pairs` in all of them, `number` of those that have a pair."""

    blocks: list[Block]
    pairs: int | Tensor
    number: int | Tensor


class TermGroups(NamedTuple):
    similar: Groups
    means: Groups
    dissimilar: Groups


def arrange(labels: Tensor, samples_per_class: int | None = None) -> Balanced | Ragged | Unread:
    """The layout of a batch with `labels` (N,): its `order`, and `groups` of the rows so ordered.

    samples_per_class: that every class has exactly so many samples, which spares the look at the
    labels. Whether it is true is checked where the labels can be read at no cost.
    """
    ordered, order = torch.sort(labels, stable=True)
    if can_be_read(labels):
        counts = _class_counts(ordered, samples_per_class)
        if min(counts) == max(counts):
            return Balanced(order, len(counts), counts[0])
        return Ragged(order, counts)
    if samples_per_class is not None:
        # Not divmod(), which torch.compile does not know for the sizes of a second batch.
        if len(labels) % samples_per_class:
            raise ValueError(
                f"samples_per_class is {samples_per_class}, which does not divide the "
                f"{len(labels)} labels"
            )
        return Balanced(order, len(labels) // samples_per_class, samples_per_class)
    return Unread(order, ordered)


def _class_counts(ordered: Tensor, samples_per_class: int | None) -> list[int]:
    """The number of samples of each class, checked; `ordered` are labels in ascending order."""
    counts = torch.unique_consecutive(ordered, return_counts=True)[1].tolist()
    if samples_per_class is not None and set(counts) != {samples_per_class}:
        raise ValueError(
            f"samples_per_class is {samples_per_class}, but the classes in labels have "
            f"{min(counts)} to {max(counts)} samples; leave it out for batches that are not "
            "class-balanced"
        )
    return counts


def can_be_read(x: Tensor) -> bool:
    """Whether looking at the values of `x` neither waits for a device nor breaks a trace."""
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not isinstance(x, FakeTensor)
    )


@dataclass(frozen=True)
class Balanced:
    """`classes` classes of `samples` samples each."""

    order: Tensor
    classes: int
    samples: int

    def groups(self, e: Tensor) -> TermGroups:
        by_class = e.view(self.classes, self.samples, -1)
        return TermGroups(
            similar=_full(by_class),
            means=_full((by_class.sum(1) / self.samples)[None]),
            dissimilar=_full(by_class.transpose(0, 1)),
        )


def _full(points: Tensor) -> Groups:
    groups, n = points.shape[:2]
    return Groups([Block(points)], groups * _pairs(n), groups if n >= 2 else 0)


def _pairs(n: int) -> int:
    return n * (n - 1) // 2


@dataclass(frozen=True)
class Ragged:
    """Classes of `counts` samples, in the order of their labels."""

    order: Tensor
    counts: list[int]

    def groups(self, e: Tensor) -> TermGroups:
        # On the host, which knows them, so that no look at them waits for a device.
        counts = torch.tensor(self.counts, device="cpu")
        # Largest class first: then the classes that have a k-th sample are the first ones, for
        # every k, and groups of like size are neighbours.
        descending, largest_first = counts.sort(descending=True, stable=True)
        ks = torch.arange(max(self.counts), device="cpu")
        classes_with_k = len(counts) - torch.searchsorted(counts.sort().values, ks, right=True)
        class_sizes, rank_sizes = descending.tolist(), classes_with_k.tolist()
        starts = (counts.cumsum(0) - counts)[largest_first].to(e.device)
        counts, descending = counts.to(e.device), descending.to(e.device)
        class_of_row = torch.repeat_interleave(counts, output_size=len(e))
        sums = e.new_zeros(len(counts), e.shape[1]).index_add(0, class_of_row, e)
        means = _full((sums / counts[:, None])[None])

        def sample(c: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
            return starts[c] + k, k < descending[c]

        padded = torch.cat([e, e.new_zeros(1, e.shape[1])])
        return TermGroups(
            similar=_padded(padded, class_sizes, sample),
            means=means,
            dissimilar=_padded(padded, rank_sizes, lambda k, c: sample(c, k)),
        )


def _padded(
    e: Tensor, sizes: list[int], member: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Groups:
    """Groups of descending `sizes`; `member(group, i)` is the row of `e` and whether there is one.

    The last row of `e` is zero, for the padding.
    """
    blocks: list[Block] = []
    for first, end in _alike(sizes):
        n = sizes[first]
        if n < 2 and blocks:
            break
        i = torch.arange(n, device=e.device)[None, :]
        rows, exists = member(torch.arange(first, end, device=e.device)[:, None], i)
        rows = torch.where(exists, rows, len(e) - 1)
        points = e.index_select(0, rows.flatten()).view(end - first, n, -1)
        keys = None if sizes[end - 1] == n else torch.where(exists, 0, -1 - i)
        blocks.append(Block(points, keys))
    return Groups(blocks, sum(map(_pairs, sizes)), sum(n >= 2 for n in sizes))


def _alike(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of descending `sizes` that differ little enough to be padded to the first."""
    first = 0
    for end in range(1, len(sizes) + 1):
        if end == len(sizes) or sizes[first] > PADDED_AT_MOST * sizes[end]:
            yield first, end
            first = end


@dataclass(frozen=True)
class Unread:
    """Labels that only the device knows: `ordered` are they in the order of the rows."""

    order: Tensor
    ordered: Tensor

    def groups(self, e: Tensor) -> TermGroups:
        n = len(e)
        position = torch.arange(n, device=e.device)
        is_first = torch.ones_like(self.ordered, dtype=torch.bool)
        is_first[1:] = self.ordered[1:] != self.ordered[:-1]
        class_number = is_first.long().cumsum(0) - 1
        rank = position - torch.where(is_first, position, 0).cummax(0).values
        # One place for each class that there could be; those that are not there stay zero.
        class_sizes = _sizes(class_number)
        sums = e.new_zeros(n, e.shape[1]).index_add(0, class_number, e)
        there = class_sizes > 0
        classes = there.sum()
        means = Block(
            (sums / class_sizes.clamp_min(1)[:, None])[None],
            torch.where(there, 0, -1 - position)[None],
        )
        return TermGroups(
            similar=_mixed(e, class_number, class_sizes),
            means=Groups([means], classes * (classes - 1) // 2, (classes >= 2).long()),
            dissimilar=_mixed(e, rank, _sizes(rank)),
        )


def _sizes(numbers: Tensor) -> Tensor:
    """How often each number from 0 to N - 1 occurs in `numbers` (N,)."""
    return torch.zeros_like(numbers).scatter_add_(0, numbers, torch.ones_like(numbers))


def _mixed(e: Tensor, keys: Tensor, sizes: Tensor) -> Groups:
    block = Block(e[None], keys[None], mixed=True)
    return Groups([block], (sizes * (sizes - 1)).sum() // 2, (sizes >= 2).sum())
