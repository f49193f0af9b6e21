from __future__ import annotations

from typing import Any

import pytest
import torch
from parts import embedding_model, quiet
from pytorch_metric_learning.losses import MarginLoss, MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import Tensor
from torch.nn.functional import normalize

from simo_cl.training import BalancedReplayPlugin, ContrastiveReplay
from simo_cl.training.metric_loss import metric_loss

SIZES = {"num_classes": 6, "embedding_size": 8}
LABELS = torch.tensor([0, 1, 2, 0, 1, 5])


def embeddings() -> Tensor:
    return 2 * torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_named_loss_with_the_named_miner() -> None:
    found = metric_loss(
        "MultiSimilarityLoss",
        {"beta": 40.0},
        miner="MultiSimilarityMiner",
        miner_arguments={"epsilon": 0.3},
        **SIZES,
    )
    miner = MultiSimilarityMiner(epsilon=0.3)
    expected = MultiSimilarityLoss(beta=40.0)
    x = embeddings()
    assert torch.equal(found(x, LABELS), expected(x, LABELS, miner(x, LABELS)))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("ProxyAnchorLoss", (6, 8)),
        ("ProxyNCALoss", (6, 8)),
        ("ArcFaceLoss", (8, 6)),
        ("SubCenterArcFaceLoss", (8, 18)),
        ("P2SGradLoss", (8, 6)),
        ("SoftTripleLoss", (8, 60)),
    ],
)
def test_weights_of_classes_are_as_many_as_the_stream_has(name: str, weights: Any) -> None:
    (parameter,) = metric_loss(name, **SIZES).parameters()
    assert tuple(parameter.shape) == weights
    assert parameter.grad is None


def test_sizes_that_a_loss_does_not_require_are_not_given_to_it() -> None:
    loss = metric_loss("MarginLoss", **SIZES).loss
    assert loss.beta.shape == MarginLoss().beta.shape


def test_proxy_anchor_is_the_formula_of_its_paper() -> None:
    """Kim et al., Proxy anchor loss for deep metric learning, CVPR 2020, equation 4."""
    loss = metric_loss("ProxyAnchorLoss", {"margin": 0.2, "alpha": 16}, **SIZES)
    (proxies,) = loss.parameters()
    x = embeddings()
    cosines = (normalize(x, dim=1) @ normalize(proxies, dim=1).T).tolist()
    pull = push = 0.0
    for c in range(6):
        near = [cosines[i][c] for i in range(6) if LABELS[i] == c]
        far = [cosines[i][c] for i in range(6) if LABELS[i] != c]
        pull += torch.tensor([-16 * (s - 0.2) for s in near]).exp().sum().log1p().item()
        push += torch.tensor([16 * (s + 0.2) for s in far]).exp().sum().log1p().item()
    expected = pull / len(LABELS.unique()) + push / 6
    assert loss(x, LABELS).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"loss": "MultiSimilarity"},
            r"losses has no MultiSimilarity; it has Ang.*ArcFaceLoss, .*mean 'MultiSimilarityLoss'",
        ),
        ({"loss": "CrossBatchMemory"}, "losses has no CrossBatchMemory"),
        (
            {"loss": "ArcFaceLoss", "arguments": {"margn": 1}},
            r"ArcFaceLoss cannot be made of \{'margn': 1\}: .*unexpected keyword.*'margn'",
        ),
        (
            {"loss": "RankedListLoss"},
            r"RankedListLoss cannot be made of \{\}: .*'margin' and 'Tn'",
        ),
        (
            {"loss": "CircleLoss", "miner": "Hardest"},
            r"miners has no Hardest; it has .*BatchHardMiner",
        ),
        (
            {"loss": "VICRegLoss"},
            "VICRegLoss cannot be computed of embeddings and labels alone: Value",
        ),
        (
            {"loss": "InstanceLoss", "miner": "BatchHardMiner"},
            "InstanceLoss with BatchHardMiner cannot be computed of embeddings and labels alone",
        ),
        (
            {"loss": "DynamicSoftMarginLoss"},
            r"DynamicSoftMarginLoss keeps DynamicSoftMarginLoss\.hist_ from one step for the next",
        ),
    ],
)
def test_what_cannot_be_made_or_resumed_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric_loss(**arguments, **SIZES)


def test_class_weights_train_in_every_experience(stream: Any) -> None:
    model = embedding_model(width=8)
    loss = metric_loss("ProxyAnchorLoss", **SIZES)
    (proxies,) = loss.parameters()
    strategy = ContrastiveReplay(
        model=model,
        optimizer=torch.optim.SGD([*model.parameters(), proxies], lr=0.5, weight_decay=0.0),
        loss=loss,
        replay=BalancedReplayPlugin(12, 16),
        eval_mb_size=64,
        evaluator=quiet(),
    )
    for experience in stream.train_stream[:2]:
        before = proxies.detach().clone()
        strategy.train(experience)
        assert (proxies - before).abs().amax(dim=1).gt(1e-6).all()
