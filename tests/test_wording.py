from __future__ import annotations

import pytest

from simo_cl.wording import count, differ, duration, listed, sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (48, "48 s"),
        (59.7, "1 min 00 s"),
        (552, "9 min 12 s"),
        (11100, "3 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "seed", "1 seed"), (0, "seed", "0 seeds"), (2, "strategy", "2 strategies")],
)
def test_things_are_counted(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


@pytest.mark.parametrize(
    ("names", "at_most", "text"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b", "c"], None, "a, b and c"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_names_are_listed_and_the_rest_counted(
    names: list[str], at_most: int | None, text: str
) -> None:
    assert listed(names, at_most) == text


def test_a_sentence_begins_and_ends_as_one() -> None:
    assert sentence("er and simo differ") == "Er and simo differ."
    assert (differ(["a"]), differ(["a", "b"])) == ("differs", "differ")
