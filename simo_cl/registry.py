"""Parts by the names that users write: encoders, data sources, losses, metrics and so on.

Each room has a :class:`Registry` of its kind; :mod:`simo_cl.register` adds a user's parts to them.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Part = TypeVar("Part")


@dataclass(frozen=True)
class Lazy:
    """A part that is imported when it is first asked for.

    Example:
        >>> Lazy("math", "sqrt").load()(4)
        2.0
    """

    module: str
    attribute: str

    def load(self) -> object:
        return getattr(importlib.import_module(self.module), self.attribute)


class UnknownNameError(ValueError, KeyError):
    """A name that nothing is registered under. The message says which there are."""

    # A KeyError's shows the quotes of the message.
    __str__ = Exception.__str__


class Registry(Mapping[str, Part], Generic[Part]):
    """Parts of one kind by name, in the order in which they were added.

    Args:
        kind: in messages, with its article: "an encoder".
        parts: that there are from the start; a :class:`Lazy` is imported on first use.

    Example:
        >>> roots = Registry("a root", {"square": Lazy("math", "sqrt")})
        >>> roots["square"](9)
        3.0
        >>> roots["sqare"]  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        simo_cl.registry.UnknownNameError: 'sqare' is not a root; there are square. Did you ...
    """

    def __init__(self, kind: str, parts: Mapping[str, Part | Lazy] | None = None) -> None:
        self.kind = kind
        self._parts: dict[str, Part | Lazy] = dict(parts or {})

    def add(self, name: str, part: Part | Lazy) -> None:
        """Raises a ValueError if the name is taken."""
        if name in self._parts:
            raise ValueError(f"there is {self.kind} {name!r} already; choose another name")
        self._parts[name] = part
        recorded = _recorded.get()
        if recorded is not None:
            recorded.append(Addition(self, name, part))

    def withdraw(self, name: str, part: Part | Lazy) -> None:
        """Takes a part away, if it still stands under that name."""
        if self._parts.get(name) is part:
            del self._parts[name]

    def __getitem__(self, name: str) -> Part:
        """The part of that name, imported if need be; raises an :class:`UnknownNameError`."""
        if name not in self._parts:
            raise UnknownNameError(
                f"{name!r} is not {self.kind}; there are {', '.join(self._parts)}."
                f"{did_you_mean(name, self._parts)}"
            )
        part = self._parts[name]
        if isinstance(part, Lazy):
            loaded: Part = part.load()  # type: ignore[assignment]
            self._parts[name] = part = loaded
        return part

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(frozen=True)
class Addition:
    """A part that was added to a registry."""

    registry: Registry[Any]
    name: str
    part: Any

    def undo(self) -> None:
        self.registry.withdraw(self.name, self.part)


_recorded: ContextVar[list[Addition] | None] = ContextVar("_recorded", default=None)


@contextmanager
def additions() -> Iterator[list[Addition]]:
    """What is added within, to any registry; of a block that fails, all is taken away again.

    Example:
        >>> roots: Registry[int] = Registry("a root")
        >>> with additions() as added:
        ...     roots.add("of nine", 3)
        >>> added[0].undo()
        >>> list(roots)
        []
    """
    added: list[Addition] = []
    token = _recorded.set(added)
    try:
        yield added
    except BaseException:
        for addition in added:
            addition.undo()
        raise
    finally:
        _recorded.reset(token)


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """A sentence that suggests the nearest name, with a space before it; "" if none is near.

    Example:
        >>> did_you_mean("simmo", ["er", "simo"])
        " Did you mean 'simo'?"
    """
    near = nearest(given, names)
    return f" Did you mean {near!r}?" if near else ""


def nearest(given: str, names: Iterable[str]) -> str | None:
    """The name that was perhaps meant."""
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.5)
    return near[0] if near else None
