"""Which threads compute the loss, and that no bit depends on it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from simo_cl.losses import simo_loss
from simo_cl.losses.threads import _pool, share_out

BALANCED = torch.arange(16).repeat(24)
UNEQUAL = (torch.arange(384).double() ** 0.5).long()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simo_cl.losses.blocks.NUMBERS_IN_A_BLOCK_ON_CPU", 2**12)


def rows() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(384, 32, generator=generator, requires_grad=True)


def value_and_gradient(threads: int, labels: Tensor, **options: object) -> tuple[Tensor, Tensor]:
    torch.set_num_threads(threads)
    x = rows()
    loss = simo_loss(x, labels, **options)  # type: ignore[arg-type]
    loss.backward()
    assert torch.get_num_threads() == threads
    assert x.grad is not None
    return loss.detach(), x.grad


SETTINGS = [{}, {"leaning": 0.1}, {"form": "batch"}, {"form": "kernel", "leaning": 0.1}]
OPTIONS = pytest.mark.parametrize("options", SETTINGS, ids=str)


@pytest.mark.usefixtures("small_blocks")
@OPTIONS
@pytest.mark.parametrize("labels", [BALANCED, UNEQUAL], ids=["balanced", "unequal"])
def test_every_call_gives_the_same_bits(labels: Tensor, options: dict[str, object]) -> None:
    loss, gradient = value_and_gradient(2, labels, **options)
    for _ in range(5):
        same, again = value_and_gradient(2, labels, **options)
        assert torch.equal(same, loss)
        assert torch.equal(again, gradient)


@pytest.mark.usefixtures("small_blocks")
def test_of_a_balanced_batch_with_any_number_of_threads() -> None:
    loss, gradient = value_and_gradient(1, BALANCED)
    for threads in (2, 3):
        same, again = value_and_gradient(threads, BALANCED)
        assert torch.equal(same, loss)
        assert torch.equal(again, gradient)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_many_blocks_are_one_batch(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    x = rows().detach().to(dtype).requires_grad_()
    loss = simo_loss(x, BALANCED)
    (gradient,) = torch.autograd.grad(loss, x)
    monkeypatch.undo()
    expected = simo_loss(x, BALANCED)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, x)[0])


class Threads(TorchDispatchMode):
    """Each operator, and how many threads it may use."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append((func.overloadpacket.__name__, torch.get_num_threads()))
        return func(*args, **(kwargs or {}))


def test_a_small_batch_is_computed_by_one_thread() -> None:
    """Where two would wait for each other at the end of every operator."""
    torch.set_num_threads(2)
    x, labels = rows(), torch.arange(16).repeat(24)
    with Threads() as threads:
        simo_loss(x, labels).backward()
    products = [number for name, number in threads.seen if "bmm" in name]
    assert len(products) == 6
    assert set(products) == {1}
    assert len([1 for _, number in threads.seen if number == 2]) < 10  # the labels
    assert torch.get_num_threads() == 2


def test_an_error_leaves_the_number_of_threads_alone() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        share_out(lambda i: 1 // i, [3, 2, 1, 0, 1, 2], torch.ones(1))
    assert torch.get_num_threads() == 2
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


def test_every_item_is_done_once_on_one_thread() -> None:
    torch.set_num_threads(3)
    done: list[tuple[int, int]] = []
    share_out(lambda i: done.append((i, torch.get_num_threads())), range(50), torch.ones(1))
    assert sorted(done) == [(i, 1) for i in range(50)]


def test_a_thread_that_does_not_come_is_not_waited_for() -> None:
    torch.set_num_threads(2)
    kept = threading.Event()
    held = _pool(1).submit(kept.wait, 600)
    done: list[int] = []
    share_out(done.append, range(5), torch.ones(1))
    assert done == list(range(5))
    kept.set()
    assert held.result()


@pytest.mark.usefixtures("small_blocks")
def test_inference_mode() -> None:
    torch.set_num_threads(2)
    expected = simo_loss(rows(), BALANCED)
    with torch.inference_mode():
        assert torch.equal(simo_loss(rows(), BALANCED), expected)


def _in_a_fork() -> None:
    done: list[int] = []
    share_out(done.append, range(5), torch.ones(1))
    assert len(done) == 5


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_its_own_threads() -> None:
    torch.set_num_threads(2)
    share_out(lambda i: None, range(5), torch.ones(1))
    process = multiprocessing.get_context("fork").Process(target=_in_a_fork)
    process.start()
    process.join()
    assert process.exitcode == 0
