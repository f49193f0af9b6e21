"""The supervised contrastive loss with some of the samples as anchors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simo_cl.losses.arguments import check_positive
from simo_cl.losses.full_precision import pair_cosines


def asymmetric_supcon(
    embeddings: Tensor, labels: Tensor, is_anchor: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020) in which only some samples are anchors.

    An anchor i has the loss ``-mean_j log(exp(z_i z_j / t) / sum_k exp(z_i z_k / t))``, with j over
    the others of its class, k over all others and unit-norm z. In Cha et al., Co2L: contrastive
    continual learning, ICCV 2021, equation 3, the anchors are the samples of the current classes;
    those of the memory are what they are compared with. The authors' code
    (https://github.com/chaht01/Co2L, ``losses_negative_only.py``) multiplies this by t / 0.07, and
    not the distillation beside it; here neither is multiplied, as in the paper. Up to the learning
    rate, the code's total has the weight 0.07 / t on distillation.

    Args:
        embeddings: (N, d), of any norm. Half precision is computed in float32, also under
            autocast.
        labels: (N,), integers.
        is_anchor: (N,), truth values.
        temperature: t, positive.

    Returns:
        A scalar, the sum over the anchors divided by N, so that it weighs as much beside a mean
        over all samples as the paper's sum beside theirs. An anchor alone in its class counts 0.

    Raises:
        ValueError: a temperature that is not positive.

    Example:
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> asymmetric_supcon(torch.eye(4), labels, labels == 1)
        tensor(0.5493)
    """
    check_positive(temperature=temperature)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself & is_anchor[:, None]
    cosines = pair_cosines(embeddings) / temperature
    log_share = F.log_softmax(cosines.masked_fill(itself, -torch.inf), dim=1)
    pulled = log_share.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
    return -pulled.mean()
