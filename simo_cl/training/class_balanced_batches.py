"""Batches with equally many samples of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler


class ClassBalancedBatches(Sampler[list[int]]):
    """Lists of sample indices, one list a batch, for a data loader's ``batch_sampler``.

    A batch of ``batch_size`` images gives the share ``new_share`` to the classes of the current
    experience and the rest to those of the memory (all of it to the current ones while there is no
    memory). Within each part the classes get equally many samples, up to one; no class gets so few
    that a pair is missing, so that with many classes they take turns. The samples of a class are
    dealt like cards: each once before any comes again, which is drawing with replacement as soon as
    a batch wants more than there are.

    Args:
        new_labels: labels of the current experience's samples, which have indices 0, 1, ...
        old_labels: labels of the memory's samples, whose indices follow.
        batch_size: images a batch, views counted.
        new_share: the current classes' share of a batch, in (0, 1).
        views: how often each sample stands in its batch, each time augmented anew.
        generator: draws the samples.

    Attributes:
        new_samples: of the current classes in a batch, which stand first in each of its views.

    Raises:
        ValueError: a batch size that does not hold a pair for each part, a share outside (0, 1), or
            no sample at all.
    """

    def __init__(
        self,
        new_labels: Sequence[int],
        old_labels: Sequence[int],
        *,
        batch_size: int,
        new_share: float,
        views: int,
        generator: np.random.Generator,
    ) -> None:
        if not 0 < new_share < 1:
            raise ValueError(f"new_share is {new_share}; it must lie between 0 and 1")
        if views < 1:
            raise ValueError(f"views is {views}; it must be 1 or more")
        if len(new_labels) == 0:
            raise ValueError("the current experience has no sample")
        samples = batch_size // views
        new_samples = round(samples * new_share) if len(old_labels) else samples
        old_samples = samples - new_samples
        at_least = max(1, 2 // views)
        if new_samples < at_least or (len(old_labels) and old_samples < at_least):
            raise ValueError(
                f"a batch of {batch_size} images in {views} views leaves {new_samples} samples for "
                f"the current classes and {old_samples} for the memory's; each part needs at least "
                f"{at_least}"
            )
        self.new_samples = new_samples
        self._views = views
        self._parts = [_Part(new_labels, 0, new_samples, at_least, generator)]
        if len(old_labels):
            offset = len(new_labels)
            self._parts.append(_Part(old_labels, offset, old_samples, at_least, generator))
        self._length = max(1, len(new_labels) // new_samples)
        self._first = 0
        self._dealt = 0

    def __len__(self) -> int:
        """Batches that show as many samples as the current experience has."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        first, self._first = self._first, 0
        for number in range(first, self._length):
            samples = [index for part in self._parts for index in part.draw()]
            self._dealt = number + 1
            yield samples * self._views

    def state_dict(self) -> dict[str, Any]:
        """The place in a pass and the decks, as they are between two batches."""
        return {
            "dealt": self._dealt % self._length,
            "decks": [deck.state_dict() for deck in self._decks()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next pass is what is left of the one that was saved.

        The generator's state is the caller's to bring back.
        """
        self._first = self._dealt = state["dealt"]
        for deck, saved in zip(self._decks(), state["decks"], strict=True):
            deck.load_state_dict(saved)

    def _decks(self) -> list[_Deck]:
        return [deck for part in self._parts for deck in part.decks()]


class _Part:
    """One side of a batch, the current classes' or the memory's."""

    def __init__(
        self,
        labels: Sequence[int],
        offset: int,
        size: int,
        per_class_at_least: int,
        generator: np.random.Generator,
    ) -> None:
        label_array = np.asarray(labels)
        classes = np.unique(label_array)
        self._size = size
        self._class_deck = _Deck(classes, generator)
        self._num_classes = min(len(classes), size // per_class_at_least)
        self._decks = {
            c: _Deck(np.flatnonzero(label_array == c) + offset, generator) for c in classes
        }

    def decks(self) -> list[_Deck]:
        return [self._class_deck, *self._decks.values()]

    def draw(self) -> list[int]:
        classes = self._class_deck.deal(self._num_classes)
        share, extra = divmod(self._size, self._num_classes)
        counts = [share + (k < extra) for k in range(self._num_classes)]
        return [
            int(index)
            for c, count in zip(classes, counts, strict=True)
            for index in self._decks[c].deal(count)
        ]


class _Deck:
    """Deals its cards in random order and shuffles again when all are dealt.

    A hand that goes across the shuffle repeats a card only if it is larger than the deck.
    """

    def __init__(self, cards: np.ndarray, generator: np.random.Generator) -> None:
        self._cards = cards
        self._generator = generator
        self._order = generator.permutation(cards)
        self._next = 0

    def state_dict(self) -> dict[str, Any]:
        return {"order": self._order, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order, self._next = np.asarray(state["order"]), state["next"]

    def deal(self, count: int) -> np.ndarray:
        hand = self._cards[:0]
        while len(hand) < count:
            if self._next == len(self._order):
                order = self._generator.permutation(self._cards)
                in_hand = np.isin(order, hand)
                self._order = np.concatenate([order[~in_hand], order[in_hand]])
                self._next = 0
            start, self._next = self._next, min(self._next + count - len(hand), len(self._order))
            hand = np.concatenate([hand, self._order[start : self._next]])
        return hand
