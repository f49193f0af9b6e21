"""The SimO loss and its anchor-free contrastive sum (AFCL).

"SimO Loss: Anchor-Free Contrastive Loss for Fine-Grained Supervised Contrastive Learning",
Bouhsine et al., 2024, https://arxiv.org/abs/2410.05233.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from simo_cl.losses.backends import check_backend, check_embeddings
from simo_cl.losses.balanced import balanced_terms
from simo_cl.losses.batch import fraction_sum
from simo_cl.losses.batch_distributed import plan_exchange, statistics_terms
from simo_cl.losses.distributed import gather_labels, gather_rows
from simo_cl.losses.layout import Balanced, Groups, arrange, can_be_read
from simo_cl.losses.pairwise import Norms, pair_sum
from simo_cl.losses.unit_norm import unit_rows

FORMS = ("pairwise", "batch")
REDUCTIONS = ("mean", "sum")


class SimOTerms(NamedTuple):
    """The three unweighted terms of the loss, each a scalar."""

    similar: Tensor
    means: Tensor
    dissimilar: Tensor


def simo_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    form: str = "pairwise",
    epsilon: float = 0.1,
    leaning: float = 0.0,
    normalize: bool = True,
    normalize_means: bool = False,
    reduction: str = "mean",
    samples_per_class: int | None = None,
    distributed: bool = False,
    backend: str = "torch",
    weights: Sequence[float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """Anchor-free contrastive loss of a batch: ``similar + means + dissimilar``, weighted.

    With ``d_ij = |e_i - e_j|^2`` and ``o_ij = (e_i . e_j)^2``, a group of embeddings with label
    ``y`` (1 similar, 0 dissimilar) has the loss

    - ``form="pairwise"``: the mean over its pairs i < j of
      ``y * d_ij / (eps + o_ij) + (1 - y) * o_ij / (eps + d_ij)``;
    - ``form="batch"``: ``y * D / (eps + O) + (1 - y) * O / (eps + D)``, where D and O are the means
      (``reduction="mean"``) or the sums (``"sum"``) of d_ij and o_ij over its pairs.

    The groups are: for *similar*, the samples of each class (y = 1); for *means*, the class means
    (y = leaning); for *dissimilar*, the k-th samples of all classes that have one, for each k, in
    batch order (y = leaning). Classes may have different numbers of samples. In the pairwise form
    a term is the sum over all pairs of its groups divided by their number (``reduction="mean"``)
    or that sum itself (``"sum"``); in the batch form it is the mean over its groups of at least
    two members. A term without a pair is 0, with a gradient graph.

    The value does not change when classes are renamed, nor when one reordering of k is applied to
    all classes; it does change when samples are shuffled within one class.

    Args:
        embeddings: floating point, shape (N, d), N >= 1. Half precision is computed in float32,
            also under autocast.
        labels: integer, shape (N,), on the same device: the class of each row, any numbers.
        form: "pairwise" or "batch".
        epsilon: positive; bounds both fractions. The gradient grows steeply as it falls.
        leaning: in [0, 1], the label of dissimilar groups. Above 0 it moves the best cosine of a
            dissimilar pair away from 0 (docs/loss.md has the table).
        normalize: scale every embedding to unit norm first. A zero row stays zero.
        normalize_means: scale the class means to unit norm too.
        reduction: "mean" or "sum", see above.
        samples_per_class: the number of samples of every class, if all have the same. Then the
            groups follow without a look at the labels, which saves time off the CPU. If
            distributed, the number on all ranks together.
        distributed: the batch is that of all ranks, in the order of rank and position, and every
            rank gets its loss. Gradients are to be averaged over the ranks, as
            DistributedDataParallel does. Every rank must take part, with the same settings, also
            one without a row. Waits for the device once, for all labels; docs/loss.md says what
            else travels.
        backend: what sweeps the pairs: "torch", or "triton", one kernel for CUDA devices, in the
            pairwise form and float32.
        weights: of similar, means and dissimilar; not negative.

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
    _check_weights(weights)
    terms = simo_terms(
        embeddings,
        labels,
        form=form,
        epsilon=epsilon,
        leaning=leaning,
        normalize=normalize,
        normalize_means=normalize_means,
        reduction=reduction,
        samples_per_class=samples_per_class,
        distributed=distributed,
        backend=backend,
    )
    return _weighted(terms, weights)


def simo_terms(
    embeddings: Tensor,
    labels: Tensor,
    *,
    form: str = "pairwise",
    epsilon: float = 0.1,
    leaning: float = 0.0,
    normalize: bool = True,
    normalize_means: bool = False,
    reduction: str = "mean",
    samples_per_class: int | None = None,
    distributed: bool = False,
    backend: str = "torch",
) -> SimOTerms:
    """The unweighted terms of `simo_loss`, which explains the arguments."""
    _check_settings(form, epsilon, leaning, reduction, backend)
    _check_types(embeddings, labels)
    check_embeddings(backend, embeddings)
    if distributed:
        labels, shares = gather_labels(embeddings, labels)
        if form == "batch":
            exchange = plan_exchange(
                labels, shares, embeddings.shape[1], embeddings.dtype, samples_per_class
            )
            if exchange is not None:
                with _full_precision(embeddings.device):
                    terms = SimOTerms(
                        *statistics_terms(
                            embeddings,
                            exchange,
                            normalize=normalize,
                            normalize_means=normalize_means,
                            leaning=leaning,
                            epsilon=epsilon,
                            reduction=reduction,
                        )
                    )
                _check_finite(embeddings, terms, shares)
                return terms
        embeddings = gather_rows(embeddings, shares)
    _check_not_empty(embeddings)
    term = partial(_pairwise_term, backend=backend) if form == "pairwise" else _batch_term
    layout = arrange(labels, samples_per_class)
    if distributed:
        layout = replace(layout, order=layout.order.to(embeddings.device))
    with _full_precision(embeddings.device):
        if (
            isinstance(layout, Balanced)
            and form == "pairwise"
            and normalize
            and not normalize_means
        ):
            terms = SimOTerms(
                *balanced_terms(embeddings, layout, leaning, epsilon, reduction, backend)
            )
        else:
            e = _ordered_rows(embeddings, layout.order, normalize)
            groups = layout.groups(e)
            means = _with_unit_rows(groups.means) if normalize_means else groups.means
            norms: Norms = "unit" if normalize else "any"
            means_norms: Norms = "bounded" if normalize or normalize_means else "any"
            terms = SimOTerms(
                similar=term(groups.similar, 1.0, epsilon, reduction, norms),
                means=term(means, leaning, epsilon, reduction, means_norms),
                dissimilar=term(groups.dissimilar, leaning, epsilon, reduction, norms),
            )
    _check_finite(embeddings, terms)
    return terms


class SimOLoss(nn.Module):
    """`simo_loss` as a module, called ``(embeddings, labels)`` like pytorch-metric-learning's.

    The arguments are those of `simo_loss` and are checked here, once.
    """

    def __init__(
        self,
        *,
        form: str = "pairwise",
        epsilon: float = 0.1,
        leaning: float = 0.0,
        normalize: bool = True,
        normalize_means: bool = False,
        reduction: str = "mean",
        samples_per_class: int | None = None,
        distributed: bool = False,
        backend: str = "torch",
        weights: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        _check_settings(form, epsilon, leaning, reduction, backend)
        _check_weights(weights)
        self.form = form
        self.epsilon = epsilon
        self.leaning = leaning
        self.normalize = normalize
        self.normalize_means = normalize_means
        self.reduction = reduction
        self.samples_per_class = samples_per_class
        self.distributed = distributed
        self.backend = backend
        self.weights = tuple(weights)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum of the terms: (N, d) and (N,) to a scalar."""
        return _weighted(self.terms(embeddings, labels), self.weights)

    def terms(self, embeddings: Tensor, labels: Tensor) -> SimOTerms:
        """The unweighted terms, for logging them one by one."""
        return simo_terms(
            embeddings,
            labels,
            form=self.form,
            epsilon=self.epsilon,
            leaning=self.leaning,
            normalize=self.normalize,
            normalize_means=self.normalize_means,
            reduction=self.reduction,
            samples_per_class=self.samples_per_class,
            distributed=self.distributed,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        return (
            f"form={self.form!r}, epsilon={self.epsilon}, leaning={self.leaning}, "
            f"normalize={self.normalize}, normalize_means={self.normalize_means}, "
            f"reduction={self.reduction!r}, samples_per_class={self.samples_per_class}, "
            f"distributed={self.distributed}, backend={self.backend!r}, weights={self.weights}"
        )


def _weighted(terms: SimOTerms, weights: Sequence[float]) -> Tensor:
    """The weighted sum; a weight of 1 costs nothing, which small batches notice."""
    similar, means, dissimilar = (
        term if weight == 1 else weight * term for term, weight in zip(terms, weights, strict=True)
    )
    return similar + means + dissimilar


def _ordered_rows(embeddings: Tensor, order: Tensor, normalize: bool) -> Tensor:
    if normalize:
        return unit_rows(embeddings, order)
    e = embeddings.index_select(0, order)
    return e.to(torch.promote_types(e.dtype, torch.float32))


def _with_unit_rows(groups: Groups) -> Groups:
    blocks = [
        block._replace(points=torch.stack([unit_rows(points) for points in block.points]))
        for block in groups.blocks
    ]
    return groups._replace(blocks=blocks)


def _pairwise_term(
    groups: Groups, y: float, epsilon: float, reduction: str, norms: Norms, backend: str
) -> Tensor:
    """Sum over all pairs of all groups, or that divided by their number."""
    total = _sum([pair_sum(*block[:2], y, epsilon, norms, backend) for block in groups.blocks])
    return total if reduction == "sum" else total / _at_least_one(groups.pairs)


def _batch_term(groups: Groups, y: float, epsilon: float, reduction: str, norms: Norms) -> Tensor:
    """Mean over the groups that have a pair of the fraction of each."""
    mean = reduction == "mean"
    total = _sum([fraction_sum(*block, y, epsilon, mean=mean) for block in groups.blocks])
    return total / _at_least_one(groups.number)


def _sum(scalars: list[Tensor]) -> Tensor:
    return scalars[0] if len(scalars) == 1 else torch.stack(scalars).sum()


def _at_least_one(number: int | Tensor) -> int | Tensor:
    return number.clamp_min(1) if isinstance(number, Tensor) else max(number, 1)


def _full_precision(device: torch.device) -> torch.autocast:
    """Autocast switched off: sums over many pairs need float32."""
    kind = device.type if torch.amp.is_autocast_available(device.type) else "cpu"
    return torch.autocast(device_type=kind, enabled=False)


def _check_settings(
    form: str, epsilon: float, leaning: float, reduction: str, backend: str
) -> None:
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon must be a positive number, got {epsilon!r}")
    if not 0 <= leaning <= 1:
        raise ValueError(f"leaning must be a number from 0 to 1, got {leaning!r}")
    check_backend(backend, form)


def _check_weights(weights: Sequence[float]) -> None:
    if len(weights) != 3 or not all(math.isfinite(w) and w >= 0 for w in weights):
        raise ValueError(
            "weights must be three numbers that are not negative, of the terms similar, means and "
            f"dissimilar, got {weights!r}"
        )


def _check_not_empty(embeddings: Tensor) -> None:
    if embeddings.shape[0] == 0 or embeddings.shape[1] == 0:
        raise ValueError(
            f"embeddings must hold at least one row and one column, got {tuple(embeddings.shape)}"
        )


def _check_types(embeddings: Tensor, labels: Tensor) -> None:
    if embeddings.ndim != 2:
        raise ValueError(
            f"embeddings must have the shape (N, d), got {tuple(embeddings.shape)}; "
            "pool or flatten them first"
        )
    if not embeddings.is_floating_point():
        raise TypeError(f"embeddings must be of a floating point type, got {embeddings.dtype}")
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels must have the shape ({embeddings.shape[0]},), one class for each row of "
            f"embeddings, got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels must be class numbers of an integer type, got {labels.dtype}")
    if labels.device != embeddings.device:
        raise ValueError(
            f"labels must be on the device of embeddings, {embeddings.device}, "
            f"got {labels.device}; move them there once, when the batch is loaded"
        )


def _check_finite(embeddings: Tensor, terms: SimOTerms, shares: list[int] | None = None) -> None:
    """Refuse NaN and infinite embeddings where looking at a value does not wait for a device.

    With `shares`, `embeddings` are those of one rank, and all ranks refuse them alike.
    """
    if torch.compiler.is_compiling():
        return
    if (can_be_read(embeddings) or torch.is_anomaly_enabled()) and not math.isfinite(
        sum(t.item() for t in terms)
    ):
        if shares is not None:
            embeddings = gather_rows(embeddings, shares)
        bad = (~embeddings.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"embeddings must be finite, got NaN or infinite values in {len(bad)} of "
                f"{len(embeddings)} rows, the first in row {bad[0]}"
            )
