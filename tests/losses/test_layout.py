"""Every layout gives the groups, and the loss, of the definition."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_simo import plain_terms
from torch import Tensor

from simo_cl.losses import SimOLoss, simo_loss, simo_terms
from simo_cl.losses.arguments import Form, Settings
from simo_cl.losses.grouped import grouped_terms
from simo_cl.losses.layout import Balanced, Ragged, Unread, arrange

WEIGHTS = (1.0, 0.7, 1.3)  # unlike, so that no term's gradient can stand for another's
FORMS = list(get_args(Form))
SETTINGS = [
    {},
    {"form": "batch"},
    {"leaning": 0.3},
    {"reduction": "sum"},
    {"form": "batch", "leaning": 0.3, "reduction": "sum"},
    {"normalize": False},
    {"normalize_means": True, "reduction": "sum"},
    {"form": "batch", "normalize": False},
    {"form": "rectified", "leaning": 0.3},
    {"form": "rectified", "normalize": False},
    {"form": "kernel", "bias": 0.2, "leaning": 0.1},
    {"form": "kernel", "normalize": False, "reduction": "sum"},
    {"form": "distance", "leaning": 0.1},
    {"form": "distance", "normalize": False, "reduction": "sum"},
    {"form": "orthogonality", "leaning": 0.1},
    {"form": "orthogonality", "normalize": False},
]


def rows(n: int, d: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def assert_equal_to_plain(embeddings: Tensor, labels: Tensor, options: dict) -> None:
    embeddings = embeddings.requires_grad_()
    terms = simo_terms(embeddings, labels, **options)
    expected = plain_terms(embeddings, labels, **options)
    torch.testing.assert_close(terms, expected)
    for pair in zip(terms, expected, strict=True):
        gradients = [torch.autograd.grad(t, embeddings, retain_graph=True)[0] for t in pair]
        torch.testing.assert_close(*gradients)
    loss = simo_loss(embeddings, labels, **options, weights=WEIGHTS)
    weighted = sum(weight * term for weight, term in zip(WEIGHTS, expected, strict=True))
    torch.testing.assert_close(loss, weighted)
    gradients = [torch.autograd.grad(x, embeddings)[0] for x in (loss, weighted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("counts", [[4] * 6, [1], [7, 1, 1], [3, 2, 1, 1], [9, 8, 7, 3, 3, 1]])
def test_read_labels(options: dict, counts: list[int]) -> None:
    labels = torch.repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    balanced = len(set(counts)) == 1
    assert isinstance(arrange(labels), Balanced if balanced else Ragged)
    assert_equal_to_plain(rows(len(labels)), labels, options)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("labels", [[5, 1, 1, 5, 5, 0, 9, 1], [2, 2, 2], [1, 2, 3], [7]], ids=str)
def test_unread_labels(options: dict, labels: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simo_cl.losses.layout.can_be_read", lambda x: False)
    assert isinstance(arrange(torch.tensor(labels)), Unread)
    assert_equal_to_plain(rows(len(labels)), torch.tensor(labels), options)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_samples_per_class_spare_the_look(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simo_cl.losses.layout.can_be_read", lambda x: False)
    labels = torch.tensor([3, 8, 8, 3, 5, 5, 3, 8, 5])
    assert isinstance(arrange(labels, samples_per_class=3), Balanced)
    told = simo_terms(rows(9), labels, samples_per_class=3, **options)
    torch.testing.assert_close(told, plain_terms(rows(9), labels, **options))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("numbers", [21, 60, 300])
def test_blocks_of_any_size_give_the_same(
    form: str, normalize: bool, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of a group at a time, a few rows, or two groups."""
    monkeypatch.setattr("simo_cl.losses.blocks.NUMBERS_IN_A_BLOCK_ON_CPU", numbers)
    for labels in (torch.arange(24) % 3, torch.arange(25) % 3, torch.zeros(20, dtype=torch.long)):
        options = {"form": form, "leaning": 0.2, "normalize": normalize}
        assert_equal_to_plain(rows(len(labels)), labels, options)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.sampled_from(FORMS),
    st.integers(0, 99),
)
def test_any_class_counts(labels: list[int], form: str, seed: int) -> None:
    assert_equal_to_plain(rows(len(labels), seed=seed), torch.tensor(labels), {"form": form})


def test_the_number_of_samples_is_checked_where_it_can_be_seen() -> None:
    with pytest.raises(ValueError, match=r"samples_per_class is 2.* have 1 to 3 samples"):
        simo_loss(rows(4), torch.tensor([0, 0, 0, 1]), samples_per_class=2)
    with pytest.raises(ValueError, match="does not divide the 4 labels"):
        simo_loss(rows(4).to("meta"), torch.zeros(4, dtype=int, device="meta"), samples_per_class=3)


@pytest.mark.parametrize("form", FORMS)
def test_no_look_at_counts_that_the_host_knows_waits_for_a_device(form: Form) -> None:
    """As of the batch of all ranks, whose labels are on the host."""
    layout = arrange(torch.tensor([0, 1, 1, 2, 2, 2]))
    assert isinstance(layout, Ragged)
    embeddings = torch.empty(6, 4, device="meta", requires_grad=True)
    there = replace(layout, order=layout.order.to("meta"))
    sum(grouped_terms(embeddings, there, Settings(form=form))).backward()
    assert embeddings.grad is not None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples_per_class", [None, 3])
def test_compiled_without_a_break(form: str, samples_per_class: int | None) -> None:
    def value_and_gradient(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss = simo_loss(x, labels, form=form, samples_per_class=samples_per_class)
        return loss, torch.autograd.grad(loss, x)[0]

    torch.compiler.reset()  # a function is compiled for so many settings and no more
    embeddings, labels = rows(12).requires_grad_(), torch.arange(12) % 4
    loss = torch.compile(simo_loss, fullgraph=True, backend="aot_eager", dynamic=False)
    compiled = loss(embeddings, labels, form=form, samples_per_class=samples_per_class)
    gradient = torch.autograd.grad(compiled, embeddings)[0]
    torch.testing.assert_close((compiled, gradient), value_and_gradient(embeddings, labels))


@pytest.mark.parametrize("samples_per_class", [None, 3])
def test_compiled_for_batches_of_other_sizes(samples_per_class: int | None) -> None:
    torch.compiler.reset()
    loss = SimOLoss(samples_per_class=samples_per_class)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for classes in (4, 6, 5):
        embeddings, labels = rows(3 * classes).requires_grad_(), torch.arange(3 * classes) % classes
        values = [each(embeddings, labels) for each in (compiled, loss)]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(v, embeddings)[0] for v in values))


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler"
)
def test_compiled_to_machine_code() -> None:
    embeddings, labels = rows(12).float().requires_grad_(), torch.arange(12) % 4
    # To ask the compiler what the processor can do would take as long as the rest.
    options = {"cpp.vec_isa_ok": True}
    loss = torch.compile(simo_loss, fullgraph=True, options=options, dynamic=False)
    compiled = loss(embeddings, labels, samples_per_class=3)
    expected = simo_loss(embeddings, labels, samples_per_class=3)
    torch.testing.assert_close(compiled, expected)
    gradients = [torch.autograd.grad(value, embeddings)[0] for value in (compiled, expected)]
    torch.testing.assert_close(*gradients)
