"""The SimO loss against a double loop, and the properties that its documentation states."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from importlib.util import find_spec
from itertools import combinations
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_simo import plain_terms
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from simo_cl.losses import SimOLoss, SimOTerms, simo_loss, simo_terms
from simo_cl.losses.arguments import Form, Settings
from simo_cl.losses.balanced import _BalancedLoss
from simo_cl.losses.batch import _FractionSum
from simo_cl.losses.layout import PADDED_AT_MOST
from simo_cl.losses.pair_losses import LOSSES, PairLoss
from simo_cl.losses.pairwise import _PairSum
from simo_cl.losses.unit_norm import _UnitRows

FORMS = list(get_args(Form))
BALANCED = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
UNEQUAL = [7, 7, 3, 7, -1, 3, 7, 100, 3, 7]  # five, three, one and one samples
SETTINGS = [
    {},
    {"epsilon": 1 / 137},
    {"leaning": 0.2},
    {"normalize": False},
    {"normalize_means": True},
    {"reduction": "sum"},
    {"epsilon": 0.5, "leaning": 0.1, "normalize": False, "reduction": "sum"},
]
CASES = [(form, options) for form in FORMS for options in SETTINGS] + [
    ("kernel", {"bias": 0.3}),
    ("kernel", {"bias": 0.3, "leaning": 0.1, "normalize": False, "reduction": "sum"}),
]


# --- the reference: the formulas, pair by pair --------------------------------------------------


def reference_terms(
    embeddings: Tensor,
    labels: list[int],
    *,
    form: str = "pairwise",
    epsilon: float = 0.1,
    leaning: float = 0.0,
    normalize: bool = True,
    normalize_means: bool = False,
    reduction: str = "mean",
    bias: float = 0.0,
) -> tuple[float, float, float]:
    rows = [[float(v) for v in row] for row in embeddings.detach().double()]
    if normalize:
        rows = [unit(row) for row in rows]
    classes: dict[int, list[list[float]]] = {}
    for row, label in zip(rows, labels, strict=True):
        classes.setdefault(label, []).append(row)
    means = [
        [sum(column) / len(group) for column in zip(*group, strict=True)]
        for group in classes.values()
    ]
    if normalize_means:
        means = [unit(mean) for mean in means]
    longest = max(len(group) for group in classes.values())
    ranks = [[g[k] for g in classes.values() if len(g) > k] for k in range(longest)]

    def term(groups: list[list[list[float]]], y: float) -> float:
        groups = [group for group in groups if len(group) >= 2]
        if not groups:
            return 0.0
        if form != "batch":
            losses = []
            for group in groups:
                for a, b in combinations(group, 2):
                    d, o = distance(a, b), dot(a, b) ** 2
                    if form == "kernel":
                        k = (dot(a, b) + bias) ** 2 / (epsilon + d)
                        losses.append((1 + k) ** (1 - 2 * y))
                    elif form == "distance":
                        losses.append(y * d + (1 - y) / (epsilon + d))
                    elif form == "orthogonality":
                        losses.append(y / (epsilon + o) + (1 - y) * o)
                    elif form == "rectified":
                        rectified = max(dot(a, b), 0) ** 2
                        losses.append(y * d / (epsilon + rectified) + (1 - y) * o / (epsilon + d))
                    else:
                        losses.append(y * d / (epsilon + o) + (1 - y) * o / (epsilon + d))
            return sum(losses) if reduction == "sum" else sum(losses) / len(losses)
        fractions = []
        for group in groups:
            d = sum(distance(a, b) for a, b in combinations(group, 2))
            o = sum(dot(a, b) ** 2 for a, b in combinations(group, 2))
            if reduction == "mean":
                pairs = len(group) * (len(group) - 1) / 2
                d, o = d / pairs, o / pairs
            fractions.append(y * d / (epsilon + o) + (1 - y) * o / (epsilon + d))
        return sum(fractions) / len(fractions)

    return term(list(classes.values()), 1.0), term([means], leaning), term(ranks, leaning)


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row] if length else row


def distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def random_embeddings(n: int, d: int = 6, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- value and gradient -------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "options"), CASES, ids=str)
@pytest.mark.parametrize("labels", [BALANCED, UNEQUAL, [4] * 5, [0, 1, 2], [0, 1, 1], [9]], ids=str)
def test_terms_equal_the_double_loop(form: str, options: dict, labels: list[int]) -> None:
    embeddings = random_embeddings(len(labels))
    terms = simo_terms(embeddings, torch.tensor(labels), form=form, **options)
    expected = reference_terms(embeddings, labels, form=form, **options)
    assert [float(t) for t in terms] == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("form", "options"), CASES, ids=str)
@pytest.mark.parametrize("labels", [BALANCED, UNEQUAL, [2, 2, 2]], ids=str)
def test_gradient(form: str, options: dict, labels: list[int]) -> None:
    embeddings = random_embeddings(len(labels), d=3).requires_grad_()
    classes = torch.tensor(labels)
    assert torch.autograd.gradcheck(
        lambda e: simo_loss(e, classes, form=form, weights=(1.0, 0.7, 0.3), **options), embeddings
    )


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    embeddings, labels = random_embeddings(12), torch.tensor(BALANCED)
    terms = simo_terms(embeddings, labels)
    assert isinstance(terms, SimOTerms)
    for weights in [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.5, 2.0, 0.0)]:
        expected = sum(w * t for w, t in zip(weights, terms, strict=True))
        torch.testing.assert_close(simo_loss(embeddings, labels, weights=weights), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_second_derivative_is_refused(form: str) -> None:
    embeddings = random_embeddings(12).requires_grad_()
    loss = simo_loss(embeddings, torch.tensor(BALANCED), form=form)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, embeddings, create_graph=True)


def test_the_module_is_the_function() -> None:
    embeddings, labels = random_embeddings(10), torch.tensor(UNEQUAL)
    options = {"form": "batch", "epsilon": 0.3, "leaning": 0.1, "reduction": "sum"}
    loss = SimOLoss(**options, weights=(1, 0.5, 2))
    expected = simo_loss(embeddings, labels, **options, weights=(1, 0.5, 2))
    torch.testing.assert_close(loss(embeddings, labels), expected)
    torch.testing.assert_close(
        loss.terms(embeddings, labels), simo_terms(embeddings, labels, **options)
    )
    assert "epsilon=0.3" in repr(loss)


# --- degenerate batches -------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_one_sample_gives_zero_with_a_gradient(form: str) -> None:
    embeddings = random_embeddings(1).requires_grad_()
    loss = simo_loss(embeddings, torch.tensor([3]), form=form)
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


@pytest.mark.parametrize("form", FORMS)
def test_one_class_has_only_the_similar_term(form: str) -> None:
    similar, means, dissimilar = simo_terms(
        random_embeddings(5), torch.zeros(5, dtype=torch.long), form=form
    )
    assert similar > 0
    assert means == dissimilar == 0


@pytest.mark.parametrize("form", FORMS)
def test_one_sample_a_class_has_no_similar_term(form: str) -> None:
    similar, means, dissimilar = simo_terms(random_embeddings(5), torch.arange(5), form=form)
    assert similar == 0
    torch.testing.assert_close(means, dissimilar)  # every mean is its only sample


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 1e6, 1e30])
def test_any_norm_is_finite(form: str, scale: float) -> None:
    embeddings = random_embeddings(12, dtype=torch.float32)
    embeddings[::2] *= scale
    embeddings.requires_grad_()
    simo_loss(embeddings, torch.tensor(BALANCED), form=form).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1e-25, 1e-18, 1e-14, 1e14, 1e18, 1e35])
@pytest.mark.parametrize("form", FORMS)
def test_norms_whose_squares_leave_the_range_of_the_type(form: str, scale: float) -> None:
    embeddings = random_embeddings(12, dtype=torch.float32).requires_grad_()
    scaled = embeddings.detach().clone()
    scaled[::2] *= scale
    scaled.requires_grad_()
    loss = simo_loss(embeddings, torch.tensor(BALANCED), form=form)
    of_scaled = simo_loss(scaled, torch.tensor(BALANCED), form=form)
    torch.testing.assert_close(of_scaled, loss)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    (gradient_of_scaled,) = torch.autograd.grad(of_scaled, scaled)
    gradient_of_scaled[::2] *= scale
    torch.testing.assert_close(gradient_of_scaled, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_identical_rows_are_finite(form: str) -> None:
    embeddings = torch.ones(12, 4, requires_grad=True)
    similar, means, dissimilar = simo_terms(embeddings, torch.tensor(BALANCED), form=form)
    (similar + means + dissimilar).backward()
    alike, unlike = {"kernel": (1 / 11, 11), "orthogonality": (1 / 1.1, 1)}.get(form, (0, 10))
    assert similar.item() == pytest.approx(alike, abs=1e-6)
    assert means.item() == pytest.approx(unlike, abs=1e-3)
    assert dissimilar.item() == pytest.approx(unlike, abs=1e-3)
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


# --- properties ---------------------------------------------------------------------------------

forms = st.sampled_from(FORMS)
label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=14)


@settings(max_examples=50, deadline=None)
@given(label_lists, forms, st.permutations(range(5)), st.integers(0, 99))
def test_renaming_classes_changes_nothing(labels, form, names, seed) -> None:
    embeddings = random_embeddings(len(labels), seed=seed)
    renamed = torch.tensor([names[label] for label in labels])
    torch.testing.assert_close(
        simo_terms(embeddings, renamed, form=form),
        simo_terms(embeddings, torch.tensor(labels), form=form),
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.permutations(range(4)), forms, st.integers(0, 99))
def test_one_common_reordering_of_k_changes_nothing(classes, order, form, seed) -> None:
    embeddings = random_embeddings(4 * classes, seed=seed).view(4, classes, -1)  # (k, class, d)
    labels = torch.arange(classes).repeat(4)
    torch.testing.assert_close(
        simo_terms(embeddings[list(order)].flatten(0, 1), labels, form=form),
        simo_terms(embeddings.flatten(0, 1), labels, form=form),
    )


def test_shuffling_within_one_class_changes_the_dissimilar_term() -> None:
    embeddings, labels = random_embeddings(12), torch.tensor(BALANCED)
    shuffled = embeddings.clone()
    shuffled[[0, 3]] = embeddings[[3, 0]]
    before, after = simo_terms(embeddings, labels), simo_terms(shuffled, labels)
    torch.testing.assert_close(before[:2], after[:2])
    assert (before.dissimilar - after.dissimilar).abs() > 1e-3


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 9), st.sampled_from(["mean", "sum"]), st.integers(0, 99))
def test_the_batch_form_needs_no_pairs(n, d, reduction, seed) -> None:
    e = random_embeddings(n, d, seed)
    d_sum = n * (e - e.mean(0)).square().sum()
    o_sum = ((e.T @ e).square().sum() - e.square().sum(1).square().sum()) / 2
    pairs = n * (n - 1) / 2 if reduction == "mean" else 1
    similar = simo_terms(
        e, torch.zeros(n, dtype=torch.long), form="batch", normalize=False, reduction=reduction
    ).similar
    torch.testing.assert_close(
        similar, (d_sum / pairs) / (0.1 + o_sum / pairs), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(label_lists, st.floats(1e-3, 1e3), st.integers(0, 99))
def test_unit_norm_ignores_the_scale_of_a_row(labels, scale, seed) -> None:
    embeddings = random_embeddings(len(labels), seed=seed)
    scaled = embeddings.clone()
    scaled[0] *= scale
    torch.testing.assert_close(
        simo_loss(scaled, torch.tensor(labels)), simo_loss(embeddings, torch.tensor(labels))
    )


# --- precision and devices ----------------------------------------------------------------------


def hard_batches() -> dict[str, tuple[Tensor, Tensor]]:
    wide, labels = random_embeddings(60, d=16), torch.arange(60) % 6
    huge_and_tiny = wide * 10.0 ** (torch.arange(60) % 9 - 4)[:, None].double()
    near = wide[labels] + 1e-3 * wide
    return {
        "random": (wide, labels),
        "identical rows": (torch.ones_like(wide), labels),
        "identical classes": (wide[labels], labels),
        "nearly identical classes": (near, labels),
        "opposite rows": (torch.cat([wide[:30], -wide[:30]]), labels),
        "huge and tiny norms": (huge_and_tiny, labels),
        "one class": (wide, torch.zeros_like(labels)),
        "one sample a class": (wide, torch.arange(60)),
        "unequal classes": (wide, (torch.arange(60).double() ** 0.5).long()),
        "1000 classes": (random_embeddings(2000, d=16), torch.arange(2000) % 1000),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("epsilon", [0.1, 1 / 137])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", hard_batches())
def test_error_against_float64(form: str, epsilon: float, dtype: torch.dtype, name: str) -> None:
    """The bounds that docs/loss.md states, for the numbers that the loss was given."""
    exact, labels = hard_batches()[name]
    given = exact.to(dtype).requires_grad_()
    exact = given.detach().double().requires_grad_()
    loss = simo_loss(given, labels, form=form, epsilon=epsilon)
    expected = simo_loss(exact, labels, form=form, epsilon=epsilon)
    (gradient,) = torch.autograd.grad(loss, given)
    (exact_gradient,) = torch.autograd.grad(expected, exact)
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    rounding = torch.finfo(torch.float32).eps / epsilon
    assert (loss.double() - expected).abs() <= 4 * rounding * (1 + expected)
    # By rows in units of one over their norm: that is what the gradient scales with.
    norms = exact.detach().norm(dim=1, keepdim=True)
    scaled = (exact_gradient * norms).abs().max()
    error = ((gradient.double() - exact_gradient) * norms).abs().max()
    assert gradient.isfinite().all()
    underflow = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps * norms.max()
    bound = torch.finfo(dtype).eps * scaled + underflow + 16 * rounding / epsilon / len(exact)
    assert error <= bound


def test_a_tiny_float16_row_has_a_finite_gradient() -> None:
    embeddings = random_embeddings(12).to(torch.float16)
    embeddings[0] *= 1e-6
    embeddings.requires_grad_()
    simo_loss(embeddings, torch.tensor(BALANCED), epsilon=1e-3).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("outlier", [1, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("labels_are_read", [True, False])
def test_a_row_of_a_far_larger_norm(
    form: str,
    reduction: str,
    outlier: float,
    labels_are_read: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In groups of 20 rows in 3 dimensions, where the batch form takes E^T E."""
    if not labels_are_read:
        monkeypatch.setattr("simo_cl.losses.layout.can_be_read", lambda x: False)
    given, labels = random_embeddings(400, d=3, dtype=torch.float32), torch.arange(400) % 20
    given[7] *= outlier
    exact = given.double().requires_grad_()
    options = {"form": form, "normalize": False, "leaning": 0.2, "reduction": reduction}
    terms = simo_terms(given.requires_grad_(), labels, **options)
    for term, expected in zip(terms, plain_terms(exact, labels, **options), strict=True):
        assert term.item() == pytest.approx(expected.item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(term, given, retain_graph=True)
        (exact_gradient,) = torch.autograd.grad(expected, exact, retain_graph=True)
        error = (gradient.double() - exact_gradient).norm(dim=1)
        of_row = exact_gradient.norm(dim=1)
        assert error.max() <= 5e-6 * of_row.max()
        assert (error / of_row).max() <= 2e-3


@pytest.mark.parametrize("outlier", [1, 10_000])
def test_the_batch_form_against_rational_numbers(outlier: int) -> None:
    rows = [[3, -1], [2, 5], [-4, 1], [1, 1], [outlier * 2, outlier * 3]]
    exact = [[Fraction(v, 8) for v in row] for row in rows]
    d = sum(distance(a, b) for a, b in combinations(exact, 2))
    o = sum(dot(a, b) ** 2 for a, b in combinations(exact, 2))
    embeddings = torch.tensor([[float(v) for v in row] for row in exact])
    similar = simo_terms(
        embeddings, torch.zeros(5).long(), form="batch", normalize=False, epsilon=0.5
    ).similar
    expected = float((d / 10) / (Fraction(1, 2) + o / 10))
    assert similar.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("labels_are_read", [True, False])
def test_a_spread_far_from_the_origin(
    labels_are_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch form's distances are not differences of large numbers."""
    if not labels_are_read:
        monkeypatch.setattr("simo_cl.losses.layout.can_be_read", lambda x: False)
    given, labels = random_embeddings(60, d=3, dtype=torch.float32) + 1000, torch.arange(60) % 6
    options = {"form": "batch", "normalize": False}
    similar = simo_terms(given, labels, **options).similar
    expected = simo_terms(given.double(), labels, **options).similar
    assert similar.item() == pytest.approx(expected.item(), rel=1e-5)


class Largest(TorchDispatchMode):
    """The most numbers that a tensor has which an operator returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [1, 16, 48, 512])
def test_no_more_than_the_rows_or_a_block_is_held(
    form: str, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs of all groups would be 512 x 512 numbers, or 48 x 11 x 11 and 11 x 48 x 48."""
    monkeypatch.setattr("simo_cl.losses.blocks.NUMBERS_IN_A_BLOCK_ON_CPU", 2048)
    embeddings, labels = random_embeddings(512, d=8).requires_grad_(), torch.arange(512) % classes
    with Largest() as largest:
        simo_loss(embeddings, labels, form=form).backward()
    assert largest.numbers <= 512 * 8 * PADDED_AT_MOST


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form: str) -> None:
    embeddings = random_embeddings(12, dtype=torch.float32)
    expected = simo_loss(embeddings, torch.tensor(BALANCED), form=form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = simo_loss(embeddings, torch.tensor(BALANCED), form=form)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


class RefuseCopiesBetweenDevices(TorchDispatchMode):
    """Fake tensors refuse mixed devices and reading values; this refuses explicit copies too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            for arg in args:
                if isinstance(arg, Tensor) and arg.device != out.device:
                    raise AssertionError(f"{func} copies from {arg.device} to {out.device}")
        return out


OPTIONS_ON_A_DEVICE = [
    {"form": form, **options}
    for form in FORMS
    for options in ({}, {"samples_per_class": 13}, {"normalize": False, "leaning": 0.1})
]
WITH_TRITON = [
    pytest.param(
        {"backend": "triton", "form": form, **options},
        marks=pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
    )
    for form in LOSSES
    for options in ({}, {"samples_per_class": 13})
]


@pytest.mark.parametrize("options", OPTIONS_ON_A_DEVICE + WITH_TRITON, ids=str)
def test_nothing_leaves_the_device(options: dict) -> None:
    with FakeTensorMode(), RefuseCopiesBetweenDevices():
        embeddings = torch.empty(130, 16, device="cuda", requires_grad=True)
        labels = torch.empty(130, dtype=torch.long, device="cuda")
        assert simo_loss(embeddings, labels, **options).device.type == "cuda"


class Context(SimpleNamespace):
    """What autograd hands to a function, for calling one by hand."""

    needs_input_grad = (True,)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors


def test_no_gradient_leaves_the_device() -> None:
    """Autograd's engine needs a real device, so the backward formulas are called by hand."""
    with FakeTensorMode(), RefuseCopiesBetweenDevices(), torch.no_grad():
        x = torch.empty(12, 16, device="cuda")
        order = torch.empty(12, dtype=torch.long, device="cuda")
        points, keys = torch.empty(3, 4, 16, device="cuda"), torch.empty(3, 4, device="cuda").long()
        for function, arguments in [
            (_BalancedLoss, (x, order, 4, 3, SimOLoss(leaning=0.1).settings, (1.0, 0.5, 2.0))),
            (_BalancedLoss, (x, order, 4, 3, SimOLoss(form="kernel").settings, (1.0, 0.5, 2.0))),
            (_UnitRows, (x, order)),
            (_PairSum, (points, keys, PairLoss("pairwise", 0.1, 0.1), "unit")),
            (_PairSum, (points, None, PairLoss("pairwise", 0.1, 0.1), "any")),
            (_PairSum, (points, keys, PairLoss("kernel", 0.1, 0.1, 0.3), "unit")),
            (_PairSum, (points, None, PairLoss("kernel", 0.1, 0.1), "any")),
            (_FractionSum, (points, keys, 0.1, 0.1, True, True)),
            (_FractionSum, (torch.empty(3, 20, 4, device="cuda"), None, 0.1, 0.1, True, False)),
        ]:
            context = Context()
            out = function.forward(context, *arguments)
            gradient = function.backward(context, torch.empty_like(out))[0]
            assert gradient.shape == arguments[0].shape
            assert gradient.device.type == "cuda"


@pytest.mark.parametrize("shape", [(3, 4, 16), (3, 20, 4)])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (_PairSum, (None, PairLoss("pairwise", 0.1, 0.1), "unit")),
        (_PairSum, (None, PairLoss("kernel", 0.1, 0.1), "any")),
        (_FractionSum, (None, 0.1, 0.1, True, True)),
        (_FractionSum, (None, 0.1, 0.1, False, False)),
    ],
)
def test_without_a_gradient_none_is_computed_and_the_value_is_the_same(
    function: type, arguments: tuple, shape: tuple[int, int, int]
) -> None:
    points = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    outcomes = {}
    for needed in (True, False):
        context = Context(needs_input_grad=(needed,))
        with CountProducts() as counted:
            value = function.forward(context, points, *arguments)
        outcomes[needed] = value, counted.products, context.saved_tensors[0]
    (value, products, gradient), (same, fewer, nothing) = outcomes[True], outcomes[False]
    assert torch.equal(value, same)
    assert fewer < products
    assert gradient.shape == shape
    assert nothing is None


class CountProducts(TorchDispatchMode):
    """How many matrix products are taken."""

    products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.products += func.overloadpacket.__name__.rstrip("_") in ("mm", "bmm", "baddbmm")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", FORMS)
def test_no_grad_changes_nothing(form: str) -> None:
    embeddings = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor(BALANCED)
    value = simo_loss(embeddings.requires_grad_(), labels, form=form)
    with torch.no_grad():
        assert torch.equal(simo_loss(embeddings, labels, form=form), value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("samples_per_class", [None, 4])
def test_forward_and_backward_on_the_meta_device(form: str, samples_per_class: int | None) -> None:
    embeddings = torch.empty(12, 4, device="meta", requires_grad=True)
    labels = torch.tensor(BALANCED, device="meta")
    simo_loss(embeddings, labels, form=form, samples_per_class=samples_per_class).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.shape == (12, 4)


# --- arguments ----------------------------------------------------------------------------------


LONGS = torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"embeddings": torch.zeros(0, 4), "labels": LONGS[:0]}, ValueError, "at least one row"),
        (
            {"embeddings": torch.zeros(3, 4, 1)},
            ValueError,
            r"embeddings must have the shape \(N, d",
        ),
        ({"embeddings": LONGS[:, None]}, TypeError, "embeddings must be of a floating"),
        ({"embeddings": torch.full((3, 4), torch.nan)}, ValueError, "embeddings must be finite"),
        ({"labels": LONGS[:2]}, ValueError, r"labels must have the shape \(3,\)"),
        ({"labels": torch.zeros(3)}, TypeError, "labels must be class numbers"),
        ({"labels": LONGS.to("meta")}, ValueError, "labels must be on the device"),
        ({"form": "pair"}, ValueError, "form must be one of .*'pair'"),
        ({"reduction": "none"}, ValueError, "reduction must be one of"),
        ({"epsilon": -0.1}, ValueError, "epsilon must be a positive number, got -0.1"),
        ({"epsilon": 0.0}, ValueError, "epsilon must be a positive number"),
        ({"epsilon": "0.1"}, TypeError, "epsilon is '0.1'; it must be a number"),
        ({"leaning": 1.5}, ValueError, "leaning must be a number from 0 to 1"),
        ({"leaning": None}, TypeError, "leaning is None; it must be a number"),
        (
            {"form": "kernel", "leaning": 0.5},
            ValueError,
            "leaning must be below 0.5 in .*kernel.*got 0.5",
        ),
        ({"form": "kernel", "bias": -0.1}, ValueError, "bias must be .* not negative, got -0.1"),
        ({"form": "kernel", "bias": math.inf}, ValueError, "bias must be .* not negative, got inf"),
        ({"bias": 0.1}, ValueError, 'bias is of form="kernel" alone, got bias=0.1 in .*pairwise'),
        ({"samples_per_class": 0}, ValueError, "samples_per_class must be .* at least 1, or None"),
        ({"samples_per_class": 1.5}, ValueError, "samples_per_class must be a whole number"),
        ({"epsilom": 0.1}, TypeError, "no setting 'epsilom'; .*, epsilon, .*mean 'epsilon'"),
        ({"weights": (1, 1)}, ValueError, "weights must be three numbers"),
        ({"weights": (1, 1, -1)}, ValueError, "weights must be three numbers"),
        ({"weights": 1.0}, ValueError, "weights must be three numbers"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(change: dict, error: type[Exception], message: str) -> None:
    arguments = {"embeddings": torch.ones(3, 4), "labels": torch.tensor([0, 0, 1]), **change}
    with pytest.raises(error, match=message):
        simo_loss(**arguments)


def test_weights_in_a_tensor_are_read_and_not_written_to() -> None:
    embeddings, labels, weights = torch.eye(6), torch.tensor([0, 0, 1, 1, 2, 2]), torch.ones(3)
    loss, expected = SimOLoss(weights=weights), simo_loss(embeddings, labels)
    assert [loss(embeddings, labels) for _ in range(2)] == [expected, expected]
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_bad_settings_are_refused_by_the_constructor() -> None:
    with pytest.raises(ValueError, match="epsilon"):
        SimOLoss(epsilon=-1)
    with pytest.raises(ValueError, match="weights"):
        SimOLoss(weights=(1.0,))


@pytest.mark.parametrize("function", [simo_loss, simo_terms, SimOLoss])
def test_signatures_name_every_setting_with_its_default(function) -> None:
    parameters = inspect.signature(function).parameters
    defaults = {name: parameters[name].default for name in Settings._fields}
    assert defaults == Settings()._asdict()
    assert "settings" not in parameters
