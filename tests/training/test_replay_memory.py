from __future__ import annotations

import pickle
import sys
from collections import Counter
from copy import deepcopy
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from simo_cl.training import replay_memory
from simo_cl.training.replay_memory import ClassBalancedMemory, ReservoirMemory

MEMORIES = [ReservoirMemory, ClassBalancedMemory]

ARRIVALS = {
    "interleaved": [0, 1, 2] * 12,
    "sequential": [0] * 12 + [1] * 12 + [2] * 12,
    "unbalanced": [0] * 20 + [1] * 2 + [0, 2, 0, 0] * 5 + [1] + [0] * 5,
    "returning": [0] * 9 + [1] * 9 + [0] * 4 + [2] * 9 + [1] * 5 + [0] * 4 + [2] * 3,
}
"""Labels of a stream, for memories of 8 samples or so."""


def filled(kind, labels, size=8, seed=0):
    """A memory that has seen rows 0, 1, ... with these labels."""
    memory = kind(size, seed=seed)
    memory.update(np.arange(len(labels)), labels)
    return memory


def p_value_of_equal_chances(held: np.ndarray) -> float:
    """Of ``held[seed, sample]``, given how many of them each seed holds.

    A uniform subset of h out of n has the covariance p(1 - p) n/(n - 1) (I - 1/n), p = h/n, so that
    the scaled squared distance of the sums over seeds from their mean has a chi-squared
    distribution with n - 1 degrees of freedom.
    """
    n = held.shape[1]
    share = held.mean(axis=1)
    variance = (share * (1 - share)).sum() * n / (n - 1)
    statistic = ((held.sum(axis=0) - share.sum()) ** 2).sum() / variance
    return float(chi2.sf(statistic, n - 1))


def p_value_of_equal_counts(outcomes: list, possible: list) -> float:
    counts = Counter(outcomes)
    assert set(counts) <= set(possible)
    expected = len(outcomes) / len(possible)
    statistic = sum((counts[outcome] - expected) ** 2 / expected for outcome in possible)
    return float(chi2.sf(statistic, len(possible) - 1))


def held_by_seed(kind, labels, seeds=3000, **settings) -> np.ndarray:
    held = np.zeros((seeds, len(labels)), dtype=bool)
    for seed in range(seeds):
        held[seed, filled(kind, labels, seed=seed, **settings).rows] = True
    return held


@pytest.mark.parametrize("size", [1, 8, 35])
def test_a_reservoir_holds_every_sample_seen_with_equal_chance(size):
    held = held_by_seed(ReservoirMemory, [0] * 36, size=size)
    assert np.all(held.sum(axis=1) == size)
    assert p_value_of_equal_chances(held) > 0.001


def test_a_reservoir_holds_every_set_with_equal_chance():
    sets = [tuple(sorted(filled(ReservoirMemory, [0] * 6, 3, s).rows)) for s in range(4000)]
    assert p_value_of_equal_counts(sets, list(combinations(range(6), 3))) > 0.001


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_balanced_memory_holds_every_sample_of_a_class_with_equal_chance(arrival):
    labels = np.array(ARRIVALS[arrival])
    held = held_by_seed(ClassBalancedMemory, labels)
    assert np.all(held.sum(axis=1) == 8)
    for label in set(ARRIVALS[arrival]):
        of_class = held[:, labels == label]
        assert of_class.all() or p_value_of_equal_chances(of_class) > 0.001


def test_a_balanced_memory_holds_every_set_of_a_class_with_equal_chance():
    labels = [0, 0, 1, 0, 1, 1, 0, 0, 2, 0]  # class 0 or 1 makes room for class 2
    memories = [filled(ClassBalancedMemory, labels, 6, seed) for seed in range(4000)]
    sets = [tuple(sorted(m.rows[m.labels == 0])) for m in memories]
    of_class = [0, 1, 3, 6, 7, 9]
    for held in (2, 3):
        possible = list(combinations(of_class, held))
        outcomes = [s for s in sets if len(s) == held]
        assert len(outcomes) > 20 * len(possible)
        assert p_value_of_equal_counts(outcomes, possible) > 0.001


def test_a_balanced_memory_evicts_from_every_largest_class_with_equal_chance():
    labels = [0, 1, 1, 2, 2, 3, 3, 0, 4]  # four classes of two, then the fifth class
    evicted = []
    for seed in range(3000):
        gone = set(range(9)) - set(filled(ClassBalancedMemory, labels, 8, seed).rows.tolist())
        evicted.extend(gone)
    assert len(evicted) == 3000
    assert p_value_of_equal_counts(evicted, list(range(8))) > 0.001


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 0, 0, 1, 1, 7]), max_size=60), st.integers(4, 12))
def test_a_balanced_memory_is_as_balanced_as_the_classes_numbers_allow(labels, size):
    memory = ClassBalancedMemory(size)
    seen: Counter[int] = Counter()
    for row, label in enumerate(labels):
        memory.update([row], [label])
        seen[label] += 1
        held = Counter(memory.labels.tolist())
        assert len(memory) == sum(held.values()) == min(size, sum(seen.values()))
        if len(memory) < size:
            assert held == seen
            continue
        level = next(m for m in range(1, size + 1) if sum(min(n, m) for n in seen.values()) >= size)
        for c, n in seen.items():
            assert held[c] == n if n < level else held[c] in (level - 1, level)
            assert held[c] >= 1


@pytest.mark.parametrize("kind", MEMORIES)
def test_everything_is_held_while_there_is_room(kind):
    memory = filled(kind, [3, 3, 5, -2, 3], size=6)
    assert len(memory) == 5
    assert memory.rows.tolist() == [0, 1, 2, 3, 4]
    assert memory.labels.tolist() == [3, 3, 5, -2, 3]
    assert memory.rows.dtype == memory.labels.dtype == np.int64


@pytest.mark.parametrize("kind", MEMORIES)
@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    size=st.integers(5, 12),
)
def test_the_split_of_a_stream_into_updates_makes_no_difference(kind, labels, cuts, size):
    rows = np.arange(len(labels))
    whole, split, single = kind(size, seed=3), kind(size, seed=3), kind(size, seed=3)
    whole.update(rows, labels)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(labels)], strict=True):
        split.update(rows[start:stop], labels[start:stop])
    for row, label in enumerate(labels):
        single.update([row], [label])
    np.testing.assert_equal(split.state_dict(), whole.state_dict())
    np.testing.assert_equal(single.state_dict(), whole.state_dict())


@pytest.mark.parametrize("kind", MEMORIES)
@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60))
def test_the_rows_held_have_the_labels_they_came_with(kind, labels):
    memory = filled(kind, labels, size=7)
    assert len(set(memory.rows.tolist())) == len(memory)
    assert memory.labels.tolist() == [labels[row] for row in memory.rows]


@pytest.mark.parametrize("kind", MEMORIES)
def test_the_seed_decides_what_is_held(kind):
    labels = ARRIVALS["returning"]
    first = filled(kind, labels, seed=5).state_dict()
    np.testing.assert_equal(filled(kind, labels, seed=5).state_dict(), first)
    assert set(filled(kind, labels, seed=6).rows) != set(first["rows"])


@pytest.mark.parametrize("kind", MEMORIES)
def test_drawing_from_a_memory_does_not_change_what_it_will_hold(kind):
    labels = ARRIVALS["unbalanced"]
    drawn_from = kind(8)
    for row, label in enumerate(labels):
        drawn_from.update([row], [label])
        drawn_from.sample(3)
    assert drawn_from.rows.tolist() == filled(kind, labels).rows.tolist()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_every_set_of_slots_is_drawn_with_equal_chance(count):
    memory = filled(ReservoirMemory, [0] * 40, size=10)
    slot = {row: place for place, row in enumerate(memory.rows.tolist())}
    draws = [tuple(sorted(slot[r] for r in memory.sample(count).tolist())) for _ in range(6000)]
    assert p_value_of_equal_counts(draws, list(combinations(range(10), count))) > 0.001


@pytest.mark.parametrize("kind", MEMORIES)
def test_no_more_is_drawn_than_is_held(kind):
    memory = filled(kind, [0, 1, 1], size=5)
    assert sorted(memory.sample(3)) == sorted(memory.sample(100)) == [0, 1, 2]
    for nothing in (memory.sample(0), kind(5).sample(4)):
        assert nothing.shape == (0,)
        assert nothing.dtype == np.int64


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_resumed_memory_goes_on_bit_for_bit(kind):
    labels = np.random.default_rng(0).integers(0, 6, 130)
    labels[90:] = 6  # a class for which the six others make room
    for stop in (0, 5, 40, 60, 100):  # empty, filling, just full, in the middle, late
        memory = filled(kind, labels[:stop], size=40)
        memory.sample(2)
        state = pickle.loads(pickle.dumps(memory.state_dict()))
        resumed = filled(kind, labels[:30], size=40, seed=99)
        resumed.load_state_dict(state)
        np.testing.assert_equal(resumed.state_dict(), memory.state_dict())
        for row, label in enumerate(labels[stop:], stop):
            for each in (memory, resumed):
                each.update([row], [label])
            assert resumed.sample(3).tolist() == memory.sample(3).tolist()
        np.testing.assert_equal(resumed.state_dict(), memory.state_dict())


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_state_is_a_snapshot_of_plain_values(kind):
    labels = ARRIVALS["returning"]
    memory = filled(kind, labels[:12])
    state, before = memory.state_dict(), deepcopy(memory.state_dict())
    other = kind(8)
    other.load_state_dict(state)
    for each in (memory, other):
        each.update(range(12, len(labels)), labels[12:])
        each.sample(2)
    np.testing.assert_equal(state, before)
    assert types_within(state) <= {dict, list, str, int, np.ndarray}


def types_within(value: object) -> set[type]:
    parts: list[object] = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        parts = value
    return {type(value)}.union(*map(types_within, parts))


@pytest.mark.parametrize("kind", MEMORIES)
def test_rows_and_labels_are_copies(kind):
    memory = filled(kind, [0, 1, 2])
    memory.rows[:] = 7
    memory.labels[:] = 7
    assert memory.rows.tolist() == memory.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", MEMORIES)
def test_an_update_draws_one_random_number_a_sample(kind):
    labels = ARRIVALS["sequential"]
    generator = np.random.default_rng(4).spawn(2)[0]
    generator.random(len(labels))
    used = filled(kind, labels, seed=4).state_dict()["update_generator"]
    assert used == generator.bit_generator.state


@pytest.mark.parametrize("kind", MEMORIES)
def test_the_work_of_an_update_depends_neither_on_classes_nor_on_size_nor_on_history(kind):
    work = [
        most_lines_an_update(kind, classes=3, size=12, updates=100),
        most_lines_an_update(kind, classes=3, size=12, updates=5000),
        most_lines_an_update(kind, classes=3, size=3000, updates=5000),
        most_lines_an_update(kind, classes=600, size=3000, updates=5000),
    ]
    # A step that lowers the largest count and raises it again has two lines more and is rare.
    assert max(work) - min(work) <= 2


def most_lines_an_update(kind, classes: int, size: int, updates: int) -> int:
    """Lines of the module that an update with one sample runs, in the worst case of 60.

    The calls to compiled functions that a line makes must be of constant time as well.
    """
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes - 1, updates)
    labels[:classes] = np.arange(classes) % (classes - 1)
    memory = filled(kind, labels, size)
    assert len(memory) == min(size, updates)
    # A class unseen till now, which makes the largest give way, in turn with the others.
    late = [classes - 1 if step % 2 else int(labels[step]) for step in range(60)]
    work = [lines_and_calls(memory, updates + step, label) for step, label in enumerate(late)]
    constant_time = {
        *("len", "divmod", "list.append", "list.pop", "Generator.random"),
        # Of the one sample's arrays, label and number:
        *("asarray", "arange", "where", "ndarray.min", "ndarray.astype", "ndarray.tolist"),
        *("sum", "min"),
    }
    assert set().union(*(calls for _, calls in work)) <= constant_time
    return max(lines for lines, _ in work)


def lines_and_calls(memory, row: int, label: int) -> tuple[int, set[str]]:
    lines, calls = 0, set()

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename != replay_memory.__file__:
            return None
        lines += event == "line"
        return trace

    def profile(frame, event, argument):
        if event == "c_call" and frame.f_code.co_filename == replay_memory.__file__:
            calls.add(argument.__qualname__)

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        memory.update([row], [label])
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return lines, calls


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_size_below_one_is_an_error(kind):
    with pytest.raises(ValueError, match="memory size is 0; it must be 1 or more"):
        kind(0)


@pytest.mark.parametrize("kind", MEMORIES)
@pytest.mark.parametrize(
    ("rows", "labels", "error", "message"),
    [
        ([4, 5], [0], ValueError, r"shapes \(2,\) and \(1,\); they must be flat and of the same"),
        ([[4, 5]], [[0, 1]], ValueError, r"shapes \(1, 2\) and \(1, 2\); they must be flat"),
        (4, 0, ValueError, r"shapes \(\) and \(\); they must be flat"),
        ([4, -5], [0, 1], ValueError, "rows has the number -5; row numbers are 0 or more"),
        ([4.0], [0], TypeError, "rows is of type float64; it must hold integers"),
        ([4], [True], TypeError, "labels is of type bool; it must hold integers"),
    ],
)
def test_a_refused_update_changes_nothing(kind, rows, labels, error, message):
    memory = filled(kind, ARRIVALS["interleaved"])
    before = memory.state_dict()
    with pytest.raises(error, match=message):
        memory.update(rows, labels)
    np.testing.assert_equal(memory.state_dict(), before)


def test_more_classes_than_slots_are_an_error_before_anything_changes():
    memory = filled(ClassBalancedMemory, [0, 1, 2, 3, 4, 0, 1], size=5)
    assert sorted(memory.labels) == [0, 1, 2, 3, 4]
    before = memory.state_dict()
    with pytest.raises(
        ValueError, match=r"memory size is 5, but 6 classes have been seen.*raise the size"
    ):
        memory.update([7, 8], [0, 5])
    np.testing.assert_equal(memory.state_dict(), before)


@pytest.mark.parametrize("kind", MEMORIES)
def test_an_empty_update_changes_nothing(kind):
    memory = filled(kind, ARRIVALS["interleaved"])
    before = memory.state_dict()
    memory.update([], [])
    np.testing.assert_equal(memory.state_dict(), before)


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_negative_count_is_an_error(kind):
    with pytest.raises(ValueError, match="count is -1; it must be 0 or more"):
        filled(kind, [0, 1]).sample(-1)


def test_the_state_of_another_kind_or_size_is_an_error():
    memory = ClassBalancedMemory(5)
    for other in (ReservoirMemory(5), ClassBalancedMemory(6)):
        with pytest.raises(ValueError, match=r"a (Reservoir|ClassBalanced)Memory of size \d, but"):
            memory.load_state_dict(other.state_dict())
