"""Instance-wise relation distillation: keep what was near to what."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simo_cl.losses.arguments import check_positive
from simo_cl.losses.full_precision import pair_cosines


def relation_distillation(
    embeddings: Tensor,
    past: Tensor,
    *,
    temperature: float = 0.2,
    past_temperature: float = 0.01,
) -> Tensor:
    """Cross-entropy of the present relations of a batch's samples to their past ones.

    The relations of a sample are the softmax of its cosines to all others, divided by a
    temperature: ``p_ij``, j ≠ i, of the embeddings now, and ``q_ij`` of those that the samples had.
    The loss is ``-sum_j q_ij log p_ij``, averaged over i. Cha et al., Co2L: contrastive continual
    learning, ICCV 2021, equations 5 and 6 (which sum over i); the temperatures are theirs.

    Args:
        embeddings: (N, d), of any norm, two or more. Half precision is computed in float32, also
            under autocast.
        past: (N, e), of the same samples by the model before; no gradient goes into it.
        temperature: of the present relations, positive.
        past_temperature: of the past ones, positive. The lower it is, the more the nearest count.

    Returns:
        A scalar, at least the mean entropy of the past relations.

    Raises:
        ValueError: fewer than two samples, not as many past embeddings, or a temperature that is
            not positive.

    Example:
        >>> relation_distillation(torch.eye(3), torch.eye(3))
        tensor(0.6931)
    """
    check_positive(temperature=temperature, past_temperature=past_temperature)
    if len(embeddings) < 2 or len(past) != len(embeddings):
        raise ValueError(
            f"there are {len(embeddings)} embeddings and {len(past)} past ones; relations need two "
            "samples or more, with an embedding of each kind"
        )
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    present = _log_relations(embeddings, itself, temperature)
    before = _log_relations(past.detach(), itself, past_temperature).exp()
    return -(before * present.masked_fill(itself, 0.0)).sum(dim=1).mean()


def _log_relations(embeddings: Tensor, itself: Tensor, temperature: float) -> Tensor:
    """(N, N), minus infinity on the diagonal."""
    cosines = pair_cosines(embeddings) / temperature
    return F.log_softmax(cosines.masked_fill(itself, -torch.inf), dim=1)
