"""Every rank gets the loss and the gradient of the whole batch, by gloo on one machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from processes import forks
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simo_cl.losses import SimOLoss, simo_loss, simo_terms

WEIGHTS = (1.0, 0.7, 1.3)  # unlike, so that no term's gradient can stand for another's
D = 3


# --- batches and how they are shared out --------------------------------------------------------


def batch(counts: list[int], *, shuffled: bool = True) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(7 - 5 * torch.arange(len(counts)), torch.tensor(counts))
    if shuffled:
        labels = labels[torch.randperm(len(labels), generator=generator)]
    return torch.randn(len(labels), D, generator=generator, dtype=torch.float64), labels


SMALL = [4, 3, 4, 1]
SQUARE = [20] * 20
RAGGED = [14 + k % 8 for k in range(24)] + [1, 2, 3]
FEW_LARGE = [60, 1, 2]

BATCHES = {
    "small": batch(SMALL),
    "square": batch(SQUARE),
    "square by class": batch(SQUARE, shuffled=False),
    "ragged": batch(RAGGED),
    "ragged by class": batch(RAGGED, shuffled=False),
    "one class": batch([50]),
    "few large": batch(FEW_LARGE),
    "an outlier": batch(SQUARE),
    "one row": batch([1]),
}
BATCHES["an outlier"][0][7] *= 1e4


class Case(NamedTuple):
    batch: str
    shares: tuple[int, ...]
    settings: dict
    dtype: torch.dtype = torch.float64

    @property
    def name(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.batch} {self.shares} {settings} {str(self.dtype)[6:]}"


CASES = (
    [
        Case("small", shares, settings)
        for shares in ((6, 6), (11, 1), (5, 0, 4, 3))
        for settings in (
            {"epsilon": 0.1},
            {"form": "batch"},
            {"form": "kernel", "bias": 0.2, "leaning": 0.1},
            {"normalize": False, "leaning": 0.2},
        )
    ]
    + [
        Case("square", (100, 250, 0, 50), {}),
        Case("ragged", (426, 0), {"normalize_means": True}),
        Case("small", (6, 6), {"form": "batch"}, torch.float32),
        Case("square", (100, 250, 0, 50), {"form": "kernel", "reduction": "sum"}, torch.float32),
    ]
    + [
        Case(name, shares, {"form": "batch", **settings})
        for name, shares in (
            ("square", (200, 200)),
            ("square", (100, 250, 0, 50)),
            ("square by class", (130, 70, 199, 1)),
            ("ragged", (426, 0)),
            ("ragged", (100, 8, 0, 318)),
            ("ragged by class", (120, 108, 100, 98)),
        )
        for settings in (
            {},
            {"normalize": False, "leaning": 0.2},
            {"normalize_means": True, "reduction": "sum"},
        )
    ]
    + [
        Case("one class", (30, 20), {"form": "batch"}),
        Case("few large", (20, 43), {"form": "batch"}),
        Case("one row", (0, 1, 0, 0), {"form": "batch"}),
        Case("square", (100, 250, 0, 50), {"form": "batch"}, torch.float32),
        Case("ragged", (426, 0), {"form": "batch"}, torch.float32),
        Case("square", (10, 390), {"form": "batch"}, torch.float16),
        Case("an outlier", (100, 250, 0, 50), {"form": "batch", "normalize": False}, torch.float32),
    ]
)


# --- what each process does ---------------------------------------------------------------------


class Sent(list):
    """The embeddings' numbers that this rank hands to each collective, in the order of calls."""

    def __enter__(self) -> Sent:
        self.originals = dist.all_reduce, dist.all_gather

        def all_reduce(x: Tensor) -> None:
            self.append(("all_reduce", x.numel()))
            self.originals[0](x)

        def all_gather(parts: list[Tensor], x: Tensor) -> None:
            if x.is_floating_point():
                self.append(("all_gather", x.numel()))
            self.originals[1](parts, x)

        dist.all_reduce, dist.all_gather = all_reduce, all_gather
        return self

    def __exit__(self, *_: object) -> None:
        dist.all_reduce, dist.all_gather = self.originals


def own_part(case: Case, rank: int) -> tuple[Tensor, Tensor]:
    embeddings, labels = BATCHES[case.batch]
    own = embeddings.to(case.dtype).split(case.shares)[rank].clone().requires_grad_()
    return own, labels.split(case.shares)[rank]


def result(case: Case, rank: int) -> tuple[Tensor, Tensor | None, list[tuple[str, int]]]:
    embeddings, labels = own_part(case, rank)
    with Sent() as sent:
        loss = simo_loss(embeddings, labels, **case.settings, weights=WEIGHTS, distributed=True)
        loss.backward()
    return loss.detach(), embeddings.grad, list(sent)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(D, D, dtype=torch.float64)


def parameter_gradients(case: Case, rank: int) -> list[Tensor | None]:
    inputs, labels = own_part(case, rank)
    model = DistributedDataParallel(network())
    SimOLoss(**case.settings, distributed=True)(model(inputs), labels).backward()
    return [p.grad for p in model.parameters()]


def message(call: Callable[[], object]) -> str:
    try:
        call()
    except (RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def errors(rank: int) -> dict[str, str]:
    square = Case("square", (200, 200), {})
    embeddings, labels = own_part(square, rank)
    bad = embeddings.detach().clone()
    if rank == 1:
        bad[5, 0] = torch.nan
    share = {"form": "batch", "distributed": True}

    def twice() -> None:
        loss = simo_loss(embeddings, labels, **share)
        torch.autograd.grad(loss, embeddings, create_graph=True)

    return {
        "second derivative": message(twice),
        "nan": message(lambda: simo_loss(bad, labels, **share)),
        "width": message(lambda: simo_loss(bad[:, : 2 + rank], labels, **share)),
        "samples": message(lambda: simo_loss(bad, labels, samples_per_class=10, **share)),
        "empty": message(lambda: simo_loss(bad[:0], labels[:0], **share)),
    }


def far_from_the_origin(rank: int) -> Tensor:
    """The similar term in float32 of rows whose spread is a thousandth of their norm."""
    embeddings, labels = own_part(Case("square", (200, 200), {}), rank)
    return simo_terms(
        1000 + embeddings.detach().float(), labels, form="batch", normalize=False, distributed=True
    ).similar


WITH_DDP = [
    Case("small", (11, 1), {}),
    Case("small", (11, 1), {"form": "batch"}),
    Case("square", (399, 1), {"form": "batch"}),
]


def on_rank(rank: int, folder: str) -> None:
    """One of four processes; the first two also form a group of their own."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    for ranks in (2, 4):
        if rank >= ranks:
            continue
        store = f"file://{folder}/{ranks}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
        results = {case.name: result(case, rank) for case in CASES if len(case.shares) == ranks}
        torch.save(results, f"{folder}/{ranks} {rank}.pt")
        if ranks == 2:
            torch.save(
                [parameter_gradients(case, rank) for case in WITH_DDP], f"{folder}/ddp {rank}"
            )
            torch.save(errors(rank), f"{folder}/errors {rank}")
            torch.save(far_from_the_origin(rank), f"{folder}/far {rank}")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all ranks; processes take seconds to start, so they start once."""
    folder = tmp_path_factory.mktemp("ranks")
    forks()  # so that they need not import torch
    mp.start_processes(on_rank, args=(str(folder),), nprocs=4, start_method="forkserver")
    return folder


# --- equal to one process -----------------------------------------------------------------------

# Relative to the loss, and to the largest entry of the gradient. The sums are taken in another
# order; a float16 gradient is rounded after the multiplication by the number of ranks.
TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_rank_has_the_global_loss_and_gradient(case: Case, folder: Path) -> None:
    ranks = len(case.shares)
    embeddings, labels = BATCHES[case.batch]
    embeddings = embeddings.to(case.dtype, copy=True).requires_grad_()
    loss = simo_loss(embeddings, labels, **case.settings, weights=WEIGHTS)
    loss.backward()
    assert embeddings.grad is not None
    tolerance = TOLERANCES[case.dtype]
    gradients = (ranks * embeddings.grad).split(case.shares)
    scale = float(ranks * embeddings.grad.abs().max())
    for rank in range(ranks):
        value, gradient, _ = torch.load(folder / f"{ranks} {rank}.pt")[case.name]
        torch.testing.assert_close(value, loss.detach(), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(gradient, gradients[rank], rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("i", range(len(WITH_DDP)))
def test_the_average_over_ranks_is_the_gradient(i: int, folder: Path) -> None:
    case, model = WITH_DDP[i], network()
    inputs, labels = BATCHES[case.batch]
    simo_loss(model(inputs), labels, **case.settings).backward()
    expected = [p.grad for p in model.parameters()]
    for rank in range(2):
        gradients = torch.load(folder / f"ddp {rank}")[i]
        torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-12)


def test_a_spread_far_from_the_origin_is_not_lost(folder: Path) -> None:
    embeddings, labels = BATCHES["square"]
    rows = (1000 + embeddings.float()).double()
    expected = simo_terms(rows, labels, form="batch", normalize=False).similar
    for rank in range(2):
        similar = torch.load(folder / f"far {rank}").double()
        torch.testing.assert_close(similar, expected, rtol=1e-4, atol=0)


# --- what travels -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_embeddings_are_gathered_once(case: Case, folder: Path) -> None:
    for rank in range(len(case.shares)):
        _, _, sent = torch.load(folder / f"{len(case.shares)} {rank}.pt")[case.name]
        assert sent == [("all_gather", max(case.shares) * D)]


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("second derivative", "RuntimeError: the SimO loss has no second derivative"),
        (
            "nan",
            "ValueError: embeddings must be finite, got .* in 1 of 400 rows, the first in row 205",
        ),
        ("width", r"ValueError: embeddings must have the same number of columns .* got \[2, 3\]"),
        ("samples", "ValueError: samples_per_class is 10, but .* have 20 to 20 samples"),
        ("empty", r"ValueError: embeddings must hold at least one row and one column"),
    ],
)
def test_all_ranks_raise_alike(name: str, expected: str, folder: Path) -> None:
    for rank in range(2):
        assert re.match(expected, torch.load(folder / f"errors {rank}")[name])


def test_without_a_process_group() -> None:
    with pytest.raises(RuntimeError, match="distributed=True needs a process group"):
        simo_terms(*BATCHES["small"], distributed=True)
