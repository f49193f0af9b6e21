"""Every rank gets the loss and the gradient of the whole batch, by gloo on one machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from simo_cl.losses import SimOLoss, simo_terms

SETTINGS = [{"epsilon": 0.1}, {"form": "batch"}, {"normalize": False, "leaning": 0.2}]
SHARES = {"2 ranks": (6, 6), "2 unequal ranks": (11, 1), "4 ranks": (5, 0, 4, 3)}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.tensor([0, 1, 2, 0, 1, 2, 2, 2, 7, 1, 0, 0])


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 3, dtype=torch.float64)


def on_rank(rank: int, folder: str) -> None:
    """One of four processes; as many as there are shares form the group."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for case, shares in SHARES.items():
        if rank >= len(shares):
            continue
        store = f"file://{folder}/{case}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=len(shares))
        inputs, labels = (x.split(shares)[rank] for x in batch())
        results = []
        for settings in SETTINGS:
            network = DistributedDataParallel(model())
            embeddings = network(inputs)
            embeddings.retain_grad()
            loss = SimOLoss(**settings, distributed=True)(embeddings, labels)
            loss.backward()
            results.append((loss.detach(), embeddings.grad, [p.grad for p in network.parameters()]))
        torch.save(results, f"{folder}/{case} {rank}.pt")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all ranks; processes take seconds to start, so they start once."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(on_rank, args=(str(folder),), nprocs=max(map(len, SHARES.values())))
    return folder


@pytest.mark.parametrize("case", SHARES)
def test_every_rank_has_the_global_loss_and_gradient(case: str, folder: Path) -> None:
    shares = SHARES[case]
    ranks = [torch.load(folder / f"{case} {rank}.pt") for rank in range(len(shares))]
    inputs, labels = batch()
    for i, settings in enumerate(SETTINGS):
        network = model()
        embeddings = network(inputs)
        embeddings.retain_grad()
        loss = SimOLoss(**settings)(embeddings, labels)
        loss.backward()
        assert embeddings.grad is not None
        own = (len(shares) * embeddings.grad).split(shares)
        for rank, results in enumerate(ranks):
            value, gradient, parameter_gradients = results[i]
            torch.testing.assert_close(value, loss.detach())
            torch.testing.assert_close(gradient, own[rank])
            # Averaged over the ranks by DistributedDataParallel.
            expected = [p.grad for p in network.parameters()]
            torch.testing.assert_close(parameter_gradients, expected)


def test_without_a_process_group() -> None:
    with pytest.raises(RuntimeError, match="distributed=True needs a process group"):
        simo_terms(*batch(), distributed=True)
