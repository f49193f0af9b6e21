"""How an experience comes in small batches, in the online protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from avalanche.benchmarks.scenarios.online import OnlineCLExperience


def batch_ends(samples: int, batch_size: int) -> list[int]:
    """Where each batch of a pass ends, counted in samples.

    A last batch of one sample, which batch normalization cannot train on, joins the one before.
    """
    ends = list(range(batch_size, samples, batch_size))
    if ends and batch_size > 1 and samples - ends[-1] == 1:
        ends.pop()
    return [*ends, samples]


def small_experiences(experience: Any, batch_size: int, seed: int) -> Iterator[OnlineCLExperience]:
    """One experience a batch, in random order: Avalanche's ``split_online_stream`` but for a last
    batch of one sample."""
    data = experience.dataset
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    ends = batch_ends(len(data), batch_size)
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        yield OnlineCLExperience(
            dataset=data.subset(order[start:end]),
            origin_experience=experience,
            is_first_subexp=number == 0,
            is_last_subexp=end == len(data),
            sub_stream_length=len(ends),
        )
