"""The state of random number generators, as tensors and primitives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_global_generators(*entropy: int) -> None:
    """Sets torch's, numpy's and Python's global generators to a place named by some numbers."""
    sequence = np.random.SeedSequence(entropy)
    torch_seed, numpy_seed, python_seed = (int(word) for word in sequence.generate_state(3))
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)  # noqa: NPY002
    random.seed(python_seed)


def global_generators(device: torch.device) -> dict[str, Any]:
    """Where the global generators of torch (also on a CUDA device), numpy and Python are."""
    numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002
    assert isinstance(numpy_state, tuple)
    name, key, *rest = numpy_state
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [name, torch.from_numpy(key.astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_global_generators(state: dict[str, Any], device: torch.device) -> None:
    """Puts the global generators where :func:`global_generators` found them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    name, key, *rest = state["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])
