from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from simo_cl.harness.environment import choose_device, compute_deterministically


@pytest.fixture
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.mark.usefixtures("_as_before")
def test_a_gpu_computes_deterministically(monkeypatch: pytest.MonkeyPatch) -> None:
    compute_deterministically(torch.device("cuda", 0))

    assert torch.are_deterministic_algorithms_enabled()
    # Without the variable, PyTorch only warns that matrix products are not.
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.usefixtures("_as_before")
def test_so_does_a_cpu() -> None:
    compute_deterministically(torch.device("cpu"))

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # it costs a pass a tensor
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.usefixtures("_as_before")
def test_two_threads_sum_the_gradient_of_repeated_rows_in_one_order() -> None:
    """Of 92,000 triplets' anchors; without the mode, no two of ten gradients are the same."""
    compute_deterministically(torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(130, 64, generator=generator, requires_grad=True)
    anchors = torch.randint(0, 130, (92_000,), generator=generator)
    weights = torch.randn(92_000, 64, generator=generator)

    gradients = set()
    torch.set_num_threads(2)
    for _ in range(10):
        (gradient,) = torch.autograd.grad((embeddings[anchors] * weights).sum(), embeddings)
        gradients.add(gradient.numpy().tobytes())

    assert len(gradients) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("_as_before")
def test_convolutions_give_the_same_gradient_each_time() -> None:
    device = torch.device("cuda")
    compute_deterministically(device)
    images = torch.randn(64, 3, 32, 32, device=device)
    layer = torch.nn.Conv2d(3, 64, 3, device=device)

    gradients = []
    for _ in range(5):
        layer.zero_grad()
        layer(images).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())

    assert all(torch.equal(gradients[0], other) for other in gradients)


@pytest.mark.parametrize("name", ["mps", "hip", "meta", "gpu", "cuda:x", ""])
def test_a_device_that_runs_are_not_for_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"use auto, cpu, cuda or cuda:<number>") as caught:
        choose_device(name)

    assert len(str(caught.value)) < 120
