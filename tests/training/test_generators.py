"""The global generators' state, there and back."""

from __future__ import annotations

import io
import random

import numpy as np
import torch

from simo_cl.training.generators import (
    global_generators,
    seed_global_generators,
    set_global_generators,
)

CPU = torch.device("cpu")


def draws() -> list[float]:
    # A normal number leaves a second one behind in numpy's and Python's generators.
    numbers = [np.random.standard_normal(), random.gauss(0, 1)]  # noqa: NPY002
    return [torch.rand(()).item(), *numbers]


def test_a_state_brings_back_what_followed_it() -> None:
    seed_global_generators(3, 1)
    draws()
    buffer = io.BytesIO()
    torch.save(global_generators(CPU), buffer)
    expected = [draws(), draws()]
    buffer.seek(0)
    set_global_generators(torch.load(buffer, weights_only=True), CPU)
    assert [draws(), draws()] == expected


def test_each_name_is_a_place_of_its_own() -> None:
    places = []
    for entropy in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1)]:
        seed_global_generators(*entropy)
        places.append(draws())
    assert places[1] == places[4]
    assert len({tuple(place) for place in places}) == 4
