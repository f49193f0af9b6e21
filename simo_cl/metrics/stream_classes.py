"""Which classes the experiences of a stream are about, and in which order they were trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Classes = frozenset[tuple[int, int]]
"""Pairs of task label and class."""


def stream_classes(experience: Any) -> dict[int, Classes]:
    """Of every experience of the stream that this one comes from, by their numbers.

    Streams that make their experiences on the way are not looked through: of those, of this one.
    """
    stream = experience.origin_stream
    # A slice counts as a stream of its own, but knows its benchmark.
    whole = getattr(stream.benchmark, "streams", {}).get(stream.name, stream)
    if not isinstance(whole, Sequence) and not isinstance(whole.exps_iter, Sequence):
        return {experience.current_experience: dataset_classes(experience.dataset)}
    return {e.current_experience: dataset_classes(e.dataset) for e in whole}


def dataset_classes(dataset: Any) -> Classes:
    """Of an Avalanche classification data set; without task labels, the task is 0."""
    tasks = getattr(dataset, "targets_task_labels", None)
    if tasks is not None and len(tasks.uniques) > 1:
        return frozenset((int(t), int(c)) for t, c in zip(tasks, dataset.targets, strict=True))
    task = 0 if tasks is None else int(next(iter(tasks.uniques), 0))
    return frozenset((task, int(c)) for c in dataset.targets.uniques)


def apart(classes: Iterable[Classes]) -> bool:
    """Whether no class is in two of the experiences."""
    parts = list(classes)
    return sum(map(len, parts)) == len(frozenset().union(*parts))


def class_of_several_tasks(classes: Iterable[Classes]) -> tuple[int, list[int]] | None:
    """The first class number that stands in more than one task, and those tasks; None if none."""
    tasks: dict[int, set[int]] = {}
    for task, c in frozenset().union(*classes):
        tasks.setdefault(c, set()).add(task)
    found = sorted((c, sorted(of_class)) for c, of_class in tasks.items() if len(of_class) > 1)
    return found[0] if found else None


class Trained:
    """Which experiences and classes a strategy has been trained on, in order.

    Attributes:
        order: numbers of the experiences.
        classes: all classes, in the order they came.
        current_classes: those of the experience trained last.
        covered: all that was trained on.
        at_once: whether the first training was on more than its experience.
        stream: the classes of every experience of the training stream.
    """

    def __init__(self) -> None:
        self.order: list[int] = []
        self.classes: list[int] = []
        self.current_classes: list[int] = []
        self.covered: Classes = frozenset()
        self.at_once = False
        self.stream: dict[int, Classes] = {}

    @property
    def step(self) -> int:
        """0-based number of the experience trained last, in the order of training; -1 if none."""
        return len(self.order) - 1

    def begin(self, strategy: Any) -> None:
        """To be called before the training on each experience."""
        # An online stream cuts an experience into many; all of them are that experience.
        experience = getattr(strategy.experience, "origin_experience", None) or strategy.experience
        number = experience.current_experience
        if number in self.order[-1:]:
            return
        if not self.order:
            self.at_once = len(strategy.adapted_dataset) > len(experience.dataset)
        if number not in self.order:
            self.order.append(number)
        if number not in self.stream:
            self.stream |= stream_classes(experience)
        # Joint training starts with the first experience and trains on the data of all.
        current, all_of_it = self.stream[number], dataset_classes(strategy.adapted_dataset)
        self.current_classes = sorted({c for _, c in current})
        self.covered |= current | all_of_it
        for _, c in (*sorted(current), *sorted(all_of_it)):
            if c not in self.classes:
                self.classes.append(c)
