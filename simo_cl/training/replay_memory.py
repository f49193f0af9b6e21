"""Replay memories: which of the samples seen so far are kept, as row numbers of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class _ReplayMemory(ABC):
    """What both memories share: the slots, the two generators, and their state.

    Updates and draws have a generator each, so that what is kept depends on the seed and the
    samples seen alone, not on how often the memory was drawn from.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"memory size is {size}; it must be 1 or more")
        self.size = size
        self._held = 0
        self._rows = np.empty(size, dtype=np.int64)
        self._labels = np.empty(size, dtype=np.int64)
        self._update_generator, self._sample_generator = np.random.default_rng(seed).spawn(2)

    def __len__(self) -> int:
        """Samples held, at most ``size``."""
        return self._held

    @property
    def rows(self) -> np.ndarray:
        """A copy of the row numbers held, int64 of shape ``(len(self),)``, in slot order."""
        return self._rows[: self._held].copy()

    @property
    def labels(self) -> np.ndarray:
        """A copy of the labels of ``rows``, int64 of shape ``(len(self),)``."""
        return self._labels[: self._held].copy()

    def update(self, rows: Sequence[int] | np.ndarray, labels: Sequence[int] | np.ndarray) -> None:
        """Sees ``n`` samples, one after the other; several calls do the same as one with all.

        Args:
            rows: ``(n,)``, the samples' row numbers, 0 or more. Each call counts as a new sighting:
                show a sample once.
            labels: ``(n,)``, their classes, any integers.

        Raises:
            TypeError: something else than integers.
            ValueError: not two flat sequences of the same length, or a negative row number. The
                memory is then as it was before.
        """
        rows, labels = _as_integers(rows, "rows"), _as_integers(labels, "labels")
        if rows.ndim != 1 or rows.shape != labels.shape:
            raise ValueError(
                f"rows and labels have the shapes {rows.shape} and {labels.shape}; "
                "they must be flat and of the same length"
            )
        if len(rows) and rows.min() < 0:
            raise ValueError(f"rows has the number {rows.min()}; row numbers are 0 or more")
        self._see(rows, labels)

    @abstractmethod
    def _see(self, rows: np.ndarray, labels: np.ndarray) -> None:
        """Updates with checked samples. Takes one random number a sample, whatever becomes of it,
        so that the split into calls does not matter."""

    def sample(self, count: int) -> np.ndarray:
        """Draws ``min(count, len(self))`` different slots, every set of them equally likely.

        Returns:
            Their row numbers, int64 of shape ``(min(count, len(self)),)``, in no meaningful order.

        Raises:
            ValueError: a negative ``count``.
        """
        if count < 0:
            raise ValueError(f"count is {count}; it must be 0 or more")
        slots = self._sample_generator.choice(
            self._held, min(count, self._held), replace=False, shuffle=False
        )
        return self._rows[slots]

    def state_dict(self) -> dict[str, Any]:
        """A snapshot from which :meth:`load_state_dict` goes on bit for bit: nested dictionaries
        and lists of strings, integers and int64 arrays."""
        return {
            "memory": type(self).__name__,
            "size": self.size,
            "rows": self.rows,
            "labels": self.labels,
            "update_generator": self._update_generator.bit_generator.state,
            "sample_generator": self._sample_generator.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the state of a memory of the same kind and size.

        Raises:
            ValueError: the state of another kind or size.
        """
        if (state["memory"], state["size"]) != (type(self).__name__, self.size):
            raise ValueError(
                f"the state is that of a {state['memory']} of size {state['size']}, but this is a "
                f"{type(self).__name__} of size {self.size}; build the memory as it was saved"
            )
        self._held = len(state["rows"])
        self._rows[: self._held] = state["rows"]
        self._labels[: self._held] = state["labels"]
        self._update_generator.bit_generator.state = state["update_generator"]
        self._sample_generator.bit_generator.state = state["sample_generator"]


class ReservoirMemory(_ReplayMemory):
    """A uniform sample of everything seen.

    Every set of ``size`` samples seen is equally likely to be held: algorithm R of Vitter, Random
    sampling with a reservoir, ACM TOMS 11(1), 1985.

    Args:
        size: samples kept, 1 or more.
        seed: of the updates and draws.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> online = OnlineReplayPlugin(ReservoirMemory(1000), batch_size=10)
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        super().__init__(size, seed=seed)
        self._seen = 0

    def _see(self, rows: np.ndarray, labels: np.ndarray) -> None:
        order = np.arange(self._seen, self._seen + len(rows))
        drawn = (self._update_generator.random(len(rows)) * (order + 1)).astype(np.int64)
        slots = np.where(order < self.size, order, drawn)
        kept = slots < self.size
        slots = slots[kept]
        # Where a slot comes twice, NumPy's assignment leaves the last value: the later sample.
        self._rows[slots] = rows[kept]
        self._labels[slots] = labels[kept]
        self._seen += len(rows)
        self._held = min(self._seen, self.size)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._seen = state["seen"]


class ClassBalancedMemory(_ReplayMemory):
    """Classes as balanced as their numbers allow, and a uniform sample within each.

    Class-balancing reservoir sampling (Chrysakis and Moens, Online continual learning from
    imbalanced data, ICML 2020), in constant time a sample whatever the number of classes. While
    there is room every sample is kept. In a full memory a sample of a class that has been a largest
    one in it replaces a random one of its class with the probability held / seen; a sample of any
    other class replaces a random one of the largest classes.

    Guarantees, once the memory is full and ``n_c`` samples of class ``c`` have been seen, in
    whatever order: with ``m`` the smallest number for which ``sum_c min(n_c, m) >= size``, a class
    with ``n_c < m`` is held whole and any other holds ``m`` or ``m - 1`` samples. Every class seen
    holds at least one. Each of the ``n_c`` samples is equally likely to be among those held.

    Args:
        size: samples kept, all classes together, 1 or more.
        seed: of the updates and draws.

    Raises:
        ValueError: a size below 1; in an update, more classes than slots (the memory is then as it
            was before).

    Example:
        >>> memory = ClassBalancedMemory(1000)
        >>> online = OnlineReplayPlugin(memory, batch_size=10, memory_batch_size=10)
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        super().__init__(size, seed=seed)
        self._seen: defaultdict[int, int] = defaultdict(int)
        self._slots: defaultdict[int, list[int]] = defaultdict(list)
        self._by_held = _ClassesByCount({})

    def _see(self, rows: np.ndarray, labels: np.ndarray) -> None:
        label_list = labels.tolist()
        self._refuse_more_classes_than_slots(label_list)
        draws = self._update_generator.random(len(rows)).tolist()
        for row, label, draw in zip(rows.tolist(), label_list, draws, strict=True):
            self._see_one(row, label, draw)

    def _refuse_more_classes_than_slots(self, labels: list[int]) -> None:
        num_classes = len(self._seen) + sum(label not in self._seen for label in set(labels))
        if num_classes > self.size:
            raise ValueError(
                f"memory size is {self.size}, but {num_classes} classes have been seen and each "
                "needs at least one sample in it; raise the size"
            )

    def _see_one(self, row: int, label: int, draw: float) -> None:
        seen_before = self._seen[label]
        self._seen[label] = seen_before + 1
        slots = self._slots[label]
        held = len(slots)
        if self._held < self.size:
            slot = self._held
            self._held += 1
        elif held == self._by_held.largest or held < seen_before:
            # The class has been a largest one: it still is, or it has lost a sample. Nothing else
            # loses samples, and the largest count never grows in a full memory.
            chosen = int(draw * (seen_before + 1))
            if chosen < held:
                self._rows[slots[chosen]] = row
            return
        else:
            slot = self._evict(draw)
        self._rows[slot] = row
        self._labels[slot] = label
        slots.append(slot)
        self._by_held.step_up(label, held)

    def _evict(self, draw: float) -> int:
        """Frees a random slot of a random largest class."""
        largest = self._by_held.largest
        candidates = self._by_held.largest_classes
        which_class, which_slot = divmod(int(draw * (len(candidates) * largest)), largest)
        label = candidates[which_class]
        slots = self._slots[label]
        slot = slots[which_slot]
        slots[which_slot] = slots[-1]
        slots.pop()
        self._by_held.step_down_from_largest(label)
        return slot

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "seen": dict(self._seen),
            "slots": {c: np.array(slots, np.int64) for c, slots in self._slots.items()},
            "classes_by_held": self._by_held.groups(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._seen = defaultdict(int, state["seen"])
        self._slots = defaultdict(list, {c: slots.tolist() for c, slots in state["slots"].items()})
        self._by_held = _ClassesByCount(state["classes_by_held"])


class _ClassesByCount:
    """Classes grouped by how many samples they hold; every step takes constant time."""

    def __init__(self, groups: Mapping[int, Sequence[int]]) -> None:
        self.largest = max(groups, default=0)
        self._groups: defaultdict[int, list[int]] = defaultdict(list)
        self._places: dict[int, int] = {}
        for count, labels in groups.items():
            for label in labels:
                self._join(label, count)

    @property
    def largest_classes(self) -> list[int]:
        return self._groups[self.largest]

    def groups(self) -> dict[int, list[int]]:
        """The classes at each count, in the order that a draw depends on."""
        return {count: list(labels) for count, labels in self._groups.items() if labels}

    def step_up(self, label: int, count: int) -> None:
        """Moves a class from ``count``, 0 if it is new, to the count above."""
        if count:
            self._leave(label, count)
        self._join(label, count + 1)
        if count == self.largest:
            self.largest = count + 1

    def step_down_from_largest(self, label: int) -> None:
        self._leave(label, self.largest)
        self._join(label, self.largest - 1)
        if not self.largest_classes:
            self.largest -= 1

    def _join(self, label: int, count: int) -> None:
        group = self._groups[count]
        self._places[label] = len(group)
        group.append(label)

    def _leave(self, label: int, count: int) -> None:
        group = self._groups[count]
        place = self._places[label]
        group[place] = group[-1]
        self._places[group[place]] = place
        group.pop()


def _as_integers(values: Sequence[int] | np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} is of type {array.dtype}; it must hold integers")
    return array.astype(np.int64, copy=False)
