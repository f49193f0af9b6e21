"""The SimO loss and its anchor-free contrastive sum (AFCL).

"SimO Loss: Anchor-Free Contrastive Loss for Fine-Grained Supervised Contrastive Learning",
Bouhsine et al., 2024, https://arxiv.org/abs/2410.05233.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from simo_cl.losses.arguments import (
    Keywords,
    Settings,
    check_finite,
    check_not_empty,
    check_tensors,
    lists_settings,
    settings_of,
    weights_of,
)
from simo_cl.losses.balanced import balanced_loss
from simo_cl.losses.distributed import gather
from simo_cl.losses.full_precision import full_precision
from simo_cl.losses.grouped import grouped_terms
from simo_cl.losses.layout import Balanced, Ragged, Unread, arrange
from simo_cl.losses.one_batch import one_batch


class SimOTerms(NamedTuple):
    """The three unweighted terms of the loss, each a scalar.

    Example:
        >>> SimOTerms(similar=torch.ones(()), means=torch.zeros(()), dissimilar=torch.zeros(()))
        SimOTerms(similar=tensor(1.), means=tensor(0.), dissimilar=tensor(0.))
    """

    similar: Tensor
    means: Tensor
    dissimilar: Tensor


@lists_settings
def simo_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
    **settings: Unpack[Keywords],
) -> Tensor:
    """Anchor-free contrastive loss of a batch: ``similar + means + dissimilar``, weighted.

    With ``d_ij = |e_i - e_j|^2`` and ``o_ij = (e_i . e_j)^2``, a group of embeddings with label
    ``y`` (1 similar, 0 dissimilar) has the loss

    - ``form="pairwise"``: the mean over its pairs i < j of
      ``y * d_ij / (eps + o_ij) + (1 - y) * o_ij / (eps + d_ij)``;
    - ``form="rectified"``: the same with ``max(e_i . e_j, 0)^2`` for o_ij in the part of y, which
      keeps a class from settling at two opposite points (docs/loss.md);
    - ``form="kernel"``: the mean over its pairs of ``(1 + k_ij)^(1 - 2y)``, where
      ``k_ij = (e_i . e_j + bias)^2 / (eps + d_ij)``: ``1/(1 + k)`` of a similar pair and
      ``1 + k`` of a dissimilar one, what the paper's first author has used since;
    - ``form="distance"`` and ``"orthogonality"``, for ablations: as the pairwise form with the
      factors of d or of o alone, ``y * d_ij + (1 - y) / (eps + d_ij)`` and
      ``y / (eps + o_ij) + (1 - y) * o_ij``. At unit norm both are functions of the cosine; only
      without it they are independent;
    - ``form="batch"``: ``y * D / (eps + O) + (1 - y) * O / (eps + D)``, where D and O are the means
      (``reduction="mean"``) or the sums (``"sum"``) of d_ij and o_ij over its pairs.

    The groups are: for *similar*, the samples of each class (y = 1); for *means*, the class means
    (y = leaning); for *dissimilar*, the k-th samples of all classes that have one, for each k, in
    batch order (y = leaning). Classes may have different numbers of samples. A term is the sum over
    all pairs of its groups divided by their number (``reduction="mean"``) or that sum itself
    (``"sum"``); in the batch form it is the mean over its groups of at least two members. A term
    without a pair is 0, with a gradient graph.

    The value does not change when classes are renamed, nor when one reordering of k is applied to
    all classes; it does change when samples are shuffled within one class.

    Args:
        embeddings: floating point, shape (N, d), N >= 1. Half precision is computed in float32,
            also under autocast.
        labels: integer, shape (N,), on the same device: the class of each row, any numbers.
        weights: of similar, means and dissimilar; not negative, by default all 1.
        form: "pairwise" (default), "rectified", "kernel", "distance", "orthogonality" or "batch".
        epsilon: positive, by default 0.1; bounds the fractions. The gradient grows steeply as it
            falls.
        leaning: in [0, 1], by default 0, the label of dissimilar groups. Above 0 it moves the best
            cosine of a dissimilar pair away from 0 (docs/loss.md has the table). In the kernel form
            it is below 0.5, flattens the dissimilar loss and moves no best cosine.
        bias: not negative, by default 0; in the kernel form the best cosine of a dissimilar pair is
            ``-bias``.
        normalize: scale every embedding to unit norm first (default). A zero row stays zero.
        normalize_means: scale the class means to unit norm too.
        reduction: "mean" (default) or "sum", see above.
        samples_per_class: the number of samples of every class, if all have the same. Then the
            groups follow without a look at the labels, which saves time off the CPU. If
            distributed, the number on all ranks together.
        distributed: the batch is that of all ranks, in the order of rank and position, and every
            rank gets its loss. Gradients are to be averaged over the ranks, as
            DistributedDataParallel does. Every rank must take part, with the same settings, also
            one without a row. Waits for the device twice, for shares and labels of all ranks.
        backend: what sweeps the pairs, of which the batch form has none: "torch" (default), or
            "triton", one kernel for CUDA devices, in float32.

    Returns:
        A scalar >= 0 in float32, or in float64 for float64 embeddings.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it. Embeddings
            that are not finite are looked for where that costs no synchronisation (eagerly on the
            CPU), and everywhere under ``torch.autograd.set_detect_anomaly(True)``.

    Example:
        >>> embeddings = torch.randn(6, 16, requires_grad=True)
        >>> simo_loss(embeddings, torch.tensor([0, 0, 1, 1, 2, 2])).backward()
    """
    return _loss(embeddings, labels, settings_of(settings), weights_of(weights))


@lists_settings
def simo_terms(embeddings: Tensor, labels: Tensor, **settings: Unpack[Keywords]) -> SimOTerms:
    """The unweighted terms of `simo_loss`, which explains the settings.

    Example:
        >>> terms = simo_terms(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> terms.dissimilar.item()
        0.0
    """
    return _terms(embeddings, labels, settings_of(settings))


class SimOLoss(nn.Module):
    """`simo_loss` as a module, called as pytorch-metric-learning's losses are.

    The arguments are those of `simo_loss` and are checked here, once. Of the call's:

    - ``ref_emb``, ``ref_labels``: further rows, (M, d) and (M,). The groups are those of one batch,
      the embeddings followed by these; both get their gradient.
    - ``indices_tuple``: all pairs, as CrossBatchMemory gives them. Rows of the reference that it
      leaves out as the embeddings' own copies count once. A miner's choice is refused: there are no
      anchors to mine for.
    - labels may be of any integer type and are moved to the device of the embeddings.
    - a batch without a row is 0, with a gradient graph. (`simo_loss` refuses both: there a look at
      the caller's mistake is worth more.)

    Example:
        >>> from pytorch_metric_learning.losses import CrossBatchMemory
        >>> class Memory(CrossBatchMemory):  # which knows its losses by name
        ...     supported_losses = staticmethod(lambda: ["SimOLoss"])
        >>> loss = Memory(SimOLoss(), embedding_size=128, memory_size=1024)
    """

    @lists_settings
    def __init__(
        self, *, weights: Sequence[float] = (1.0, 1.0, 1.0), **settings: Unpack[Keywords]
    ) -> None:
        super().__init__()
        self.settings = settings_of(settings)
        self.weights = weights_of(weights)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum of the terms: (N, d) and (N,) to a scalar."""
        embeddings, labels = one_batch(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        if embeddings.shape[:1] == (0,) and not self.settings.distributed:
            check_tensors(embeddings, labels, self.settings.backend)
            return embeddings.sum(dtype=torch.promote_types(embeddings.dtype, torch.float32))
        return _loss(embeddings, labels, self.settings, self.weights)

    def terms(self, embeddings: Tensor, labels: Tensor) -> SimOTerms:
        """The unweighted terms, for logging them one by one."""
        return _terms(embeddings, labels, self.settings)

    def extra_repr(self) -> str:
        settings = {**self.settings._asdict(), "weights": self.weights}
        return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def _loss(
    embeddings: Tensor, labels: Tensor, settings: Settings, weights: Sequence[float]
) -> Tensor:
    s = settings
    if s.form == "batch" or not s.normalize or s.normalize_means:
        return _weighted(_terms(embeddings, labels, s), weights)
    rows, layout = _whole_batch(embeddings, labels, s)
    with full_precision(rows.device):
        if isinstance(layout, Balanced):
            loss = balanced_loss(rows, layout, s, weights)
        else:
            loss = _weighted(grouped_terms(rows, layout, s), weights)
    check_finite(rows, [loss])
    return loss


def _terms(embeddings: Tensor, labels: Tensor, settings: Settings) -> SimOTerms:
    rows, layout = _whole_batch(embeddings, labels, settings)
    with full_precision(rows.device):
        terms = SimOTerms(*grouped_terms(rows, layout, settings))
    check_finite(rows, terms)
    return terms


def _whole_batch(
    embeddings: Tensor, labels: Tensor, settings: Settings
) -> tuple[Tensor, Balanced | Ragged | Unread]:
    """The rows and their layout; if distributed, those of all ranks."""
    check_tensors(embeddings, labels, settings.backend)
    if settings.distributed:
        embeddings, labels = gather(embeddings, labels)
    check_not_empty(embeddings)
    layout = arrange(labels, settings.samples_per_class)
    if settings.distributed:
        layout = replace(layout, order=layout.order.to(embeddings.device))
    return embeddings, layout


def _weighted(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    similar, means, dissimilar = (
        weight * term for term, weight in zip(terms, weights, strict=True)
    )
    return similar + means + dissimilar
