from __future__ import annotations

import pytest

from simo_cl.registry import Lazy, Registry, UnknownNameError


def test_parts_come_in_the_order_in_which_they_were_added() -> None:
    parts = Registry("a part", {"one": 1})
    parts.add("two", 2)

    assert list(parts) == ["one", "two"]
    assert parts["two"] == 2
    assert len(parts) == 2


def test_a_name_is_given_once() -> None:
    parts = Registry("a part", {"one": 1})

    with pytest.raises(ValueError, match="there is a part 'one' already; choose another name"):
        parts.add("one", 2)
    assert parts["one"] == 1


def test_a_lazy_part_is_imported_when_it_is_asked_for_and_not_for_its_name() -> None:
    parts: Registry[object] = Registry("a part", {"late": Lazy("no_such_module", "x")})

    assert "late" in parts
    assert list(parts) == ["late"]
    with pytest.raises(ModuleNotFoundError):
        parts["late"]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"^'two' is not a part; there are one\."):
        Registry("a part", {"one": 1})["two"]


def test_it_gives_a_default_as_every_mapping() -> None:
    parts = Registry("a part", {"one": 1})

    assert parts.get("two") is None
    assert parts.get("two", 5) == 5
    assert parts.get("one", 5) == 1
