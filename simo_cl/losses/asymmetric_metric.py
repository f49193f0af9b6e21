"""The metric loss of ER-AML: new samples against new classes, and never against older ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simo_cl.losses.arguments import check_positive
from simo_cl.losses.full_precision import pair_cosines


def asymmetric_metric_loss(
    features: Tensor, labels: Tensor, new_samples: int, *, temperature: float = 0.1
) -> Tensor:
    """Supervised contrastive loss of the new samples of a batch, whose negatives are of the new
    classes alone.

    A new sample i has the loss ``-mean_p log(exp(s_ip / t) / sum_k exp(s_ik / t))``, s the cosine,
    with p over the others of its class in the whole batch, and k over these and the samples of the
    other classes that are among the new samples. So it does not push older classes away. Caccia et
    al., New insights on reducing abrupt representation change in online continual learning, ICLR
    2022; as in the authors' code (https://github.com/pclucas14/AML), negatives may be in the memory
    part of a batch, and a new sample without any positive or any negative is left out.

    Args:
        features: (N, d), of any norm. Half precision is computed in float32, also under autocast.
        labels: (N,), integers.
        new_samples: how many of the N are new; they stand first.
        temperature: t, positive.

    Returns:
        A scalar, the mean over the new samples that count; 0 if none does.

    Raises:
        ValueError: a temperature that is not positive.

    Example:
        >>> asymmetric_metric_loss(torch.eye(5), torch.tensor([4, 5, 4, 5, 0]), 2)
        tensor(1.0986)
    """
    check_positive(temperature=temperature)
    cosines = pair_cosines(features)[:new_samples] / temperature
    same = labels[:new_samples, None] == labels[None, :]
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)[:new_samples]
    positive, negative = same & others, ~same & same.any(dim=0)
    # Finite, as a row may have nothing to be compared with.
    least = torch.finfo(cosines.dtype).min
    log_share = F.log_softmax(cosines.masked_fill(~(positive | negative), least), dim=1)
    pulled = log_share.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1).clamp_min(1)
    counts = positive.any(dim=1) & negative.any(dim=1)
    return -pulled.masked_fill(~counts, 0.0).sum() / counts.sum().clamp_min(1)
