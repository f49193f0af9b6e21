from __future__ import annotations

import torch
from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner

from simo_cl.training.mined_loss import MinedLoss

EMBEDDINGS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
LABELS = torch.arange(3).repeat(4)


def test_the_miner_picks_what_the_loss_sees():
    loss = MinedLoss(TripletMarginLoss(margin=0.3), BatchHardMiner())
    points = torch.nn.functional.normalize(EMBEDDINGS, dim=1)
    distances = torch.cdist(points, points)
    same = LABELS[:, None] == LABELS
    hardest = distances.where(same, -1).amax(1) - distances.where(~same, 9).amin(1)
    expected = (hardest + 0.3).clamp(min=0)
    expected = expected.sum() / (expected > 0).sum()
    torch.testing.assert_close(loss(EMBEDDINGS, LABELS), expected)


def test_without_a_miner_it_is_the_loss():
    supcon = SupConLoss(temperature=0.2)
    assert torch.equal(MinedLoss(supcon)(EMBEDDINGS, LABELS), supcon(EMBEDDINGS, LABELS))


def test_has_the_parts_as_submodules():
    loss = MinedLoss(TripletMarginLoss(), BatchHardMiner())
    assert {"loss", "miner"} <= {name for name, _ in loss.named_children()}
