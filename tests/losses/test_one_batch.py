"""SimOLoss called as pytorch-metric-learning's losses are, by its own wrappers too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import (
    CrossBatchMemory,
    MultipleLosses,
    SelfSupervisedLoss,
    SupConLoss,
    TripletMarginLoss,
)
from pytorch_metric_learning.miners import BatchHardMiner, MultiSimilarityMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices
from torch import Tensor

from simo_cl.losses import SimOLoss, simo_loss

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Memory(CrossBatchMemory):
    supported_losses = staticmethod(lambda: ["SimOLoss"])


class TwoViews(SelfSupervisedLoss):
    supported_losses = staticmethod(lambda: ["SimOLoss"])


def rows(n: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator, requires_grad=True)


def assert_same(loss: Tensor, expected: Tensor, *leaves: Tensor) -> None:
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves)
    )


def test_beside_another_loss() -> None:
    x, supcon = rows(), SupConLoss()
    both = MultipleLosses([SimOLoss(), supcon], weights=[2, 1])
    assert_same(both(x, LABELS), 2 * simo_loss(x, LABELS) + supcon(x, LABELS), x)


def test_beside_a_loss_that_has_a_miner() -> None:
    x, triplet, miner = rows(), TripletMarginLoss(), BatchHardMiner()
    both = MultipleLosses([SimOLoss(), triplet], miners=[None, miner])
    assert_same(both(x, LABELS), simo_loss(x, LABELS) + triplet(x, LABELS, miner(x, LABELS)), x)


@pytest.mark.parametrize("size", [100, 12, 9])
def test_a_memory_counts_every_sample_once(size: int) -> None:
    memory = Memory(SimOLoss(), embedding_size=4, memory_size=size)
    held = 0
    for seed in range(4):
        x, rows_before = rows(seed=seed), memory.embedding_memory.clone()
        labels_before = memory.label_memory.clone()
        loss = memory(x, LABELS)
        stays = torch.ones(size, dtype=torch.bool)
        stays[memory.curr_batch_idx] = False
        stays[held:] &= held == size
        expected = simo_loss(
            torch.cat([x, rows_before[stays]]), torch.cat([LABELS, labels_before[stays]])
        )
        assert_same(loss, expected, x)
        held = min(size, held + len(x))


def test_a_memory_of_masked_rows() -> None:
    memory, x = Memory(SimOLoss(), embedding_size=4), rows()
    mask = torch.tensor([True, False] * 3)
    loss = memory(x, LABELS, enqueue_mask=mask)
    together = torch.cat([x[~mask], x[mask].detach()])
    assert_same(loss, simo_loss(together, torch.cat([LABELS[~mask], LABELS[mask]])), x)


@pytest.mark.parametrize("symmetric", [True, False])
def test_two_views(symmetric: bool) -> None:
    x, other = rows(), rows(seed=1)
    loss = TwoViews(SimOLoss(), symmetric=symmetric)(x, other)
    assert_same(loss, simo_loss(torch.cat([x, other]), torch.arange(6).repeat(2)), x, other)


def test_all_pairs_are_no_choice() -> None:
    x = rows()
    assert_same(SimOLoss()(x, LABELS, get_all_pairs_indices(LABELS)), simo_loss(x, LABELS), x)


@pytest.mark.parametrize("miner", [BatchHardMiner(), MultiSimilarityMiner(epsilon=0.1)], ids=str)
def test_a_miners_choice_is_refused(miner: torch.nn.Module) -> None:
    x = rows()
    with pytest.raises(ValueError, match=r"indices_tuple .*SimO has no anchors to mine for"):
        SimOLoss()(x, LABELS, miner(x, LABELS))
    with pytest.raises(ValueError, match="SimO has no anchors"):
        Memory(SimOLoss(), embedding_size=4, miner=miner)(x, LABELS)


def test_pairs_that_are_left_out_of_a_reference_are_a_choice() -> None:
    x, other = rows(), rows(seed=1)
    some = tuple(index[:-1] for index in get_all_pairs_indices(LABELS, LABELS.clone()))
    with pytest.raises(ValueError, match="leaves out 2 of 36 pairs"):
        SimOLoss()(x, LABELS, some, other, LABELS)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_any_integer_type_of_labels(dtype: torch.dtype) -> None:
    x = rows()
    assert torch.equal(SimOLoss()(x, LABELS.to(dtype)), simo_loss(x, LABELS))


def test_labels_are_moved_to_the_embeddings() -> None:
    x = torch.empty(6, 4, device="meta", requires_grad=True)
    other = torch.empty(6, 4, device="meta")
    assert SimOLoss()(x, LABELS).device.type == "meta"
    assert SimOLoss()(x, LABELS, None, other, LABELS).device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_empty_batch_is_zero(dtype: torch.dtype) -> None:
    x = torch.empty(0, 4, dtype=dtype, requires_grad=True)
    loss = SimOLoss()(x, LABELS[:0])
    loss.backward()
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    assert x.grad is not None
    other = rows().detach()
    assert torch.equal(
        SimOLoss()(x.float(), LABELS[:0], None, other, LABELS), simo_loss(other, LABELS)
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LABELS.tolist(),), TypeError, "labels must be a tensor, got list; torch.as_tensor"),
        ((np.arange(6),), TypeError, "labels must be a tensor, got ndarray"),
        ((None,), TypeError, "labels must be a tensor, got NoneType"),
        ((LABELS, None, [[0.0]], LABELS), TypeError, "ref_emb must be a tensor, got list"),
        ((LABELS, None, torch.ones(6, 4)), ValueError, "ref_emb was given without ref_labels"),
        ((LABELS, None, None, LABELS), ValueError, "ref_labels was given without ref_emb"),
        ((LABELS, None, torch.ones(6, 3), LABELS), ValueError, r"columns of embeddings, \(6, 4\)"),
        ((LABELS, None, torch.ones(5, 4), LABELS), ValueError, r"ref_labels must have .* \(5,\)"),
        (
            (LABELS, None, torch.ones(6, 4, device="meta"), LABELS),
            ValueError,
            "ref_emb must be on the device of embeddings, cpu, got meta",
        ),
        ((LABELS[:0],), ValueError, "labels must have the shape"),
    ],
    ids=str,
)
def test_what_is_refused(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SimOLoss()(rows(), *arguments)


def test_the_function_names_what_is_no_tensor() -> None:
    with pytest.raises(TypeError, match="embeddings must be a tensor, got ndarray"):
        simo_loss(np.ones((6, 4)), LABELS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="labels must be a tensor, got list"):
        SimOLoss().terms(rows(), LABELS.tolist())  # type: ignore[arg-type]


def test_a_single_number_is_no_batch() -> None:
    with pytest.raises(ValueError, match=r"embeddings must have the shape \(N, d\), got \(\)"):
        SimOLoss()(torch.tensor(1.0), LABELS)
