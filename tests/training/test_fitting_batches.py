from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.supervised import DER, ER_ACE, Naive
from parts import Witness, icarl, stock

from simo_cl.training.fitting_batches import FittingBatches

STRATEGIES: dict[str, Callable[..., Any]] = {
    "der": lambda **options: stock(DER, mem_size=12, batch_size_mem=16, **options),
    "er_ace": lambda **options: stock(ER_ACE, mem_size=12, batch_size_mem=16, **options),
    "replay": lambda plugins, **options: stock(
        Naive, plugins=[ReplayPlugin(12, batch_size=16, batch_size_mem=16), *plugins], **options
    ),
    "replay by default": lambda plugins, **options: stock(
        Naive, plugins=[ReplayPlugin(12), *plugins], **options
    ),
}


def batches(build: Callable[..., Any], experiences: Any, **options: Any) -> list[list[int]]:
    """The labels of each batch, the memory's included, with full batches alone."""

    def labels(strategy: Any) -> list[int]:
        beside = getattr(strategy, "mb_buffer_y", None)
        if getattr(strategy, "replay_loader", None) is None or beside is None:
            return strategy.mb_y.tolist()
        return [*strategy.mb_y.tolist(), *beside.tolist()]

    seen = Witness("after_forward", labels)
    strategy = build(plugins=[seen], **options)
    strategy.plugins.append(FittingBatches())
    for experience in experiences:
        strategy.train(experience, eval_streams=[], drop_last=True)
    return seen.seen


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_memory_smaller_than_its_batch_is_replayed_whole(name: str, stream: Any) -> None:
    first, second = stream.train_stream[:2]
    later = batches(STRATEGIES[name], [first, second])[3:]
    assert len(later) == 3
    for labels in later:
        assert len(labels) == 16 + 12
        assert {0, 1} & set(labels)


@pytest.mark.parametrize(
    "build", [*STRATEGIES.values(), icarl], ids=[*STRATEGIES, "icarl with exemplars"]
)
def test_an_experience_smaller_than_a_batch_is_trained_on(
    build: Callable[..., Any], stream: Any, few: Any
) -> None:
    sizes = [len(labels) for labels in batches(build, [few, *stream.train_stream[1:2]])]
    assert sizes[0] == len(few.dataset)
    # The next experience has whole batches again.
    assert len(sizes) >= 4
    assert all(size >= 16 for size in sizes[1:])


@pytest.fixture
def few(stream: Any) -> Any:
    """The first experience with 5 of its samples."""
    experience = stream.train_stream[0]
    whole = experience.dataset
    experience._dataset = whole.subset([0, 1, 2, 24, 25])
    yield experience
    experience._dataset = whole
