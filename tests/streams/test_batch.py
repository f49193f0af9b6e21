"""Batches pass every loader, wherever their tensors lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from simo_cl.streams import DataSet, load_data
from simo_cl.streams.batch import Batch
from simo_cl.streams.image_store import image_store
from simo_cl.streams.resident import ResidentDataset


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What was pinned, on a machine that seems to have an accelerator."""
    tensors: list[Tensor] = []

    def pin_memory(tensor: Tensor, device: Any = None) -> Tensor:
        if tensor.device.type != "cpu":
            raise RuntimeError(f"cannot pin {tensor.type()}: only dense CPU tensors can be pinned")
        tensors.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: torch.device("cuda"))
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    return tensors


def rows(digits: DataSet, device: str) -> ResidentDataset:
    return ResidentDataset(image_store(digits, "train", ["crop"], device=device), range(6))


@pytest.mark.parametrize("collate", [True, False], ids=["the data set's collate", "torch's"])
def test_what_is_on_a_device_passes_a_loader_that_pins(digits, pinned, collate) -> None:
    dataset = rows(digits, "meta")
    collate_fn = dataset.collate_fn if collate else None

    loader = DataLoader(dataset, 4, collate_fn=collate_fn, pin_memory=True)
    images, labels, tasks = next(iter(loader))

    assert (images.device.type, labels.device.type, tasks.device.type) == ("meta", "meta", "cpu")
    assert len(pinned) == 1  # the task labels


@pytest.mark.parametrize("kind", ["rows", "with an image of another kind", "sample by sample"])
def test_what_is_in_host_memory_is_pinned(digits, pinned, kind) -> None:
    dataset: Any = rows(digits, "cpu")
    if kind == "with an image of another kind":
        dataset = [*dataset, (torch.zeros(1, 8, 8), 5, 0)]
    if kind == "sample by sample":
        dataset = dataset.sample_by_sample()

    batch = next(iter(DataLoader(dataset, 7, pin_memory=True)))

    assert len(pinned) == len(batch) == 3


def test_a_batch_is_changed_as_a_list_is() -> None:
    batch = Batch([torch.zeros(2, 1), torch.tensor([0, 1]), {"a": torch.ones(2)}])
    images, *_ = batch
    batch[0] = images + 1
    assert batch[0].sum() == 2
    assert len(batch) == len(batch[:3]) == 3


def test_a_loader_that_looks_for_sequences_first_lets_a_batch_pin_itself() -> None:
    # As torch 2.6 does, which pins the items of a sequence one by one.
    batch = Batch([torch.zeros(2)])
    assert not isinstance(batch, (Sequence, Mapping))
    assert callable(batch.pin_memory)


def test_what_is_nested_in_a_batch_is_pinned_too(pinned) -> None:
    on_device = torch.empty(2, device="meta")
    batch = Batch([on_device, {"a": torch.ones(2), "b": [on_device, torch.zeros(2)]}, "name"])
    result = batch.pin_memory()
    assert type(result) is Batch
    assert len(pinned) == 2
    assert result[1]["b"][0].is_meta
    assert result[2] == "name"
