"""The Triton kernel against the reference, in Triton's interpreter and on a GPU if there is one.

Triton decides while it is imported whether it interprets, so that runs in a process of its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from plain_simo import plain_terms
from torch import Tensor

from simo_cl.losses import SimOLoss, simo_loss, simo_terms
from simo_cl.losses.pair_losses import LOSSES

triton = pytest.importorskip("triton", reason="triton is not installed")

WEIGHTS = (1.0, 0.7, 0.3)  # so that no term's gradient can stand in for another's


@dataclass(frozen=True)
class Case:
    labels: Tensor
    d: int = 16
    options: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32

    def embeddings(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(len(self.labels), self.d, generator=generator) / self.d**0.5
        return rows.to(self.dtype)


FIVE_OF_FOUR = torch.arange(20) % 4
UNEQUAL = torch.tensor([7, 7, 3, 7, -1, 3, 7, 100, 3, 7, 7, 3, 3, 100])
KERNEL = {"form": "kernel", "bias": 0.3}
CASES = {
    "balanced": Case(FIVE_OF_FOUR),
    "d=1": Case(FIVE_OF_FOUR, 1),
    "d=33": Case(FIVE_OF_FOUR, 33),
    "d=128": Case(FIVE_OF_FOUR, 128),
    "d=130, in two parts": Case(FIVE_OF_FOUR, 130),
    "one class, in two blocks": Case(torch.zeros(67, dtype=torch.long)),
    "one sample a class, in two blocks": Case(torch.arange(70)),
    "one sample": Case(torch.tensor([3])),
    "unequal classes": Case(UNEQUAL, 33, {"leaning": 0.2}),
    "leaning 0.2": Case(FIVE_OF_FOUR, options={"leaning": 0.2}),
    "leaning 1, sum": Case(FIVE_OF_FOUR, options={"leaning": 1.0, "reduction": "sum"}),
    "any norm": Case(FIVE_OF_FOUR, options={"normalize": False}),
    "any norm, d=70, in two parts": Case(UNEQUAL, 70, {"normalize": False, "leaning": 0.4}),
    "unit means": Case(UNEQUAL, options={"normalize_means": True, "epsilon": 0.5}),
    "rectified": Case(UNEQUAL, 33, {"form": "rectified", "leaning": 0.2}),
    "rectified of any norm": Case(UNEQUAL, 70, {"form": "rectified", "normalize": False}),
    "kernel": Case(FIVE_OF_FOUR, 33, {"form": "kernel"}),
    "kernel, bias 0.3, leaning 0.2": Case(UNEQUAL, options=KERNEL | {"leaning": 0.2}),
    "kernel of any norm": Case(UNEQUAL, 70, KERNEL | {"normalize": False, "leaning": 0.1}),
    "kernel of unit means, sum": Case(
        FIVE_OF_FOUR, options=KERNEL | {"normalize_means": True, "reduction": "sum"}
    ),
    "distance": Case(UNEQUAL, options={"form": "distance", "leaning": 0.2}),
    "distance of any norm": Case(UNEQUAL, 70, {"form": "distance", "normalize": False}),
    "orthogonality": Case(UNEQUAL, options={"form": "orthogonality", "leaning": 0.2}),
    "orthogonality of any norm": Case(
        UNEQUAL, 70, {"form": "orthogonality", "normalize": False, "reduction": "sum"}
    ),
    "bfloat16": Case(FIVE_OF_FOUR, 33, dtype=torch.bfloat16),
    "bfloat16 of any norm": Case(UNEQUAL, options={"normalize": False}, dtype=torch.bfloat16),
}
WITHOUT_GRADIENT = ["balanced", "unequal classes", "any norm"]
COMPILED = {
    "samples_per_class": Case(FIVE_OF_FOUR, options={"samples_per_class": 5}),
    "labels that are not read": Case(UNEQUAL, options={"leaning": 0.2}),
    "the kernel form": Case(FIVE_OF_FOUR, options=KERNEL | {"samples_per_class": 5}),
}
LARGE = {
    "32 classes of 32": Case(torch.arange(1024) % 32, 128),
    "1000 classes": Case(torch.arange(2000) % 1000, 64, {"leaning": 0.1}),
    "32 classes of 32, kernel": Case(torch.arange(1024) % 32, 128, KERNEL | {"leaning": 0.1}),
    "3 classes of 100, any norm": Case(torch.arange(300) % 3, 200, {"normalize": False}),
}

Result = tuple[tuple[Tensor, ...], Tensor]  # the terms and the loss, and the gradient of the loss


def compute(case: Case, device: str = "cpu", **options: Any) -> Result:
    embeddings = case.embeddings().to(device).requires_grad_()
    labels = case.labels.to(device)
    return result_of(terms_and_loss(embeddings, labels, **case.options, **options), embeddings)


def terms_and_loss(embeddings: Tensor, labels: Tensor, **options: Any) -> tuple[Tensor, ...]:
    loss = simo_loss(embeddings, labels, **options, weights=WEIGHTS)
    return *simo_terms(embeddings, labels, **options), loss


def plain_terms_and_loss(embeddings: Tensor, labels: Tensor, **options: Any) -> tuple[Tensor, ...]:
    terms = plain_terms(embeddings, labels, **options)
    weighted = [weight * term for weight, term in zip(WEIGHTS, terms, strict=True)]
    return *terms, torch.stack(weighted).sum()


def result_of(values: tuple[Tensor, ...], embeddings: Tensor) -> Result:
    (gradient,) = torch.autograd.grad(values[-1], embeddings)
    return tuple(value.detach().cpu() for value in values), gradient.cpu()


def assert_equal(result: Result, expected: Result, dtype: torch.dtype) -> None:
    values, gradient = result
    assert {value.dtype for value in values} == {torch.float32}
    assert gradient.dtype == dtype
    for value, expected_value in zip(values, expected[0], strict=True):
        assert_near(value, expected_value, 1e-5)
    assert_near(gradient, expected[1], 2e-5 if dtype == torch.float32 else 2**-8)


def assert_near(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Relative to the largest number: the error of each comes from all pairs."""
    error = (actual.double() - expected.double()).abs().max().item()
    assert error <= relative * (expected.abs().max().item() + 1e-3)


# --- in Triton's interpreter --------------------------------------------------------------------


def interpret(_: int, file: str) -> None:
    """Everything that is to be computed in the interpreter."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name, case in CASES.items():
        results[name] = compute(case, backend="triton")
    for name in WITHOUT_GRADIENT:
        case = CASES[name]
        values = terms_and_loss(case.embeddings(), case.labels, **case.options, backend="triton")
        results[name, "values"] = values
    compiled = torch.compile(terms_and_loss, fullgraph=True, backend="aot_eager", dynamic=False)
    for name, case in COMPILED.items():
        embeddings = case.embeddings().requires_grad_()
        values = compiled(embeddings, case.labels, **case.options, backend="triton")
        results[name] = result_of(values, embeddings)
    torch.save(results, file)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of `interpret`; its process takes seconds to start, so it starts once."""
    file = str(tmp_path_factory.mktemp("interpreted") / "results.pt")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRITON_INTERPRET", "1")
        mp.spawn(interpret, args=(file,), nprocs=1)
    return torch.load(file)


@pytest.mark.parametrize("name", CASES)
def test_the_interpreted_kernel_equals_the_reference(name: str, interpreted: dict) -> None:
    case = CASES[name]
    exact = case.embeddings().double().requires_grad_()
    expected = result_of(plain_terms_and_loss(exact, case.labels, **case.options), exact)
    assert_equal(interpreted[name], expected, case.dtype)


@pytest.mark.parametrize("name", CASES)
def test_the_interpreted_kernel_equals_the_torch_backend(name: str, interpreted: dict) -> None:
    case = CASES[name]
    assert_equal(interpreted[name], compute(case, backend="torch"), case.dtype)


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_the_value_without_a_gradient_is_the_same(name: str, interpreted: dict) -> None:
    values, _ = interpreted[name]
    assert interpreted[name, "values"] == values


@pytest.mark.parametrize("name", COMPILED)
def test_the_interpreted_kernel_is_part_of_a_full_graph(name: str, interpreted: dict) -> None:
    assert_equal(interpreted[name], compute(COMPILED[name], backend="torch"), torch.float32)


# --- for a GPU, and on one ----------------------------------------------------------------------


@pytest.mark.parametrize("form", LOSSES)
@pytest.mark.parametrize("norms", ["unit", "bounded", "any"])
def test_the_kernel_compiles_for_a_gpu_without_one(norms: str, form: str) -> None:
    """The interpreter runs what the compiler refuses: this asks the compiler."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from simo_cl.losses.pairwise_triton import _sweep_rows

    settings = {"HAS_KEYS": True, "SIMILAR": True, "DISSIMILAR": True, "WITH_GRADIENT": True}
    blocks = {"BLOCK_N": 16, "BLOCK_D": 16, "BLOCK_K": 16}
    constants = {"FORM": form, "NORMS": norms, **settings, **blocks}
    pointers = {"points": "*fp32", "keys": "*i64", "gradient": "*fp32", "totals": "*fp32"}
    floats = dict.fromkeys(["y", "epsilon", "bias", "scale"], "fp32")
    signature = {
        name: "constexpr" if name in constants else (pointers | floats).get(name, "i32")
        for name in _sweep_rows.arg_names
    }
    source = ASTSource(fn=_sweep_rows, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert ".target sm_90" in compiled.asm["ptx"]
    assert "tf32" not in compiled.asm["ptx"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CASES | LARGE)
def test_the_kernel_on_a_gpu_equals_float64(name: str) -> None:
    case = (CASES | LARGE)[name]
    exact = case.embeddings().double().requires_grad_()
    expected = result_of(terms_and_loss(exact, case.labels, **case.options), exact)
    assert_equal(compute(case, "cuda", backend="triton"), expected, case.dtype)


# --- what is refused ----------------------------------------------------------------------------


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backend must be one of \('torch', 'triton'\).*'cuda'"):
        SimOLoss(backend="cuda")


def test_the_batch_form_is_refused() -> None:
    with pytest.raises(ValueError, match='sweeps pairs, which form="batch" has none of'):
        SimOLoss(backend="triton", form="batch")


def test_a_missing_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match=r"needs the package triton.*pip install triton"):
        SimOLoss(backend="triton")


def test_float64_is_refused() -> None:
    with pytest.raises(TypeError, match=r"float32, bfloat16 or float16, got torch\.float64"):
        SimOLoss(backend="triton")(torch.ones(2, 3).double(), torch.tensor([0, 1]))


def test_the_cpu_is_refused_outside_of_the_interpreter() -> None:
    with pytest.raises(ValueError, match=r"needs embeddings on a CUDA device, got them on cpu"):
        SimOLoss(backend="triton")(torch.ones(2, 3), torch.tensor([0, 1]))
