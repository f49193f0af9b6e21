"""The geometry of labelled embeddings: pure functions of (embeddings, labels).

Everything is measured on directions: rows are brought to unit norm first, so that
``d_ij = |e_i - e_j|^2 = 2 - 2 c_ij`` and ``o_ij = (e_i . e_j)^2 = c_ij^2`` depend on the cosine
``c_ij`` alone. A zero vector has no direction and stays zero. ``u_c`` is the direction of the mean
of class c's unit vectors, C the number of classes present, d the dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from simo_cl.metrics.bounds import coherence_bound, welch_bound

# Cosines of float64 unit vectors closer than this are the same number: it decides ties between
# neighbours and what counts as below 0, so that neither depends on the order of the samples.
_SAME_COSINE = 1e-9
_PAIRS_AT_ONCE = 2**17


def geometry_metrics(
    embeddings: Tensor, labels: Tensor, *, epsilon: float = 0.1
) -> dict[str, float]:
    """Every scalar geometry metric of one set of embeddings.

    Computed on the CPU in float64, whatever the device and precision of the input. Time grows
    with N^2, so pass a bounded sample; memory does not, pairs are taken in blocks.

    Args:
        embeddings: (N, d), any norm; rows are brought to unit norm here. Pass
            ``centred(embeddings)`` for the geometry around the global mean.
        labels: (N,) integers, any numbering.
        epsilon: the SimO loss's epsilon, for ``simo/similarity_*``.

    Returns:
        The metrics of docs/metrics.md by name. What is undefined for this sample (cosines of
        class means with one class, pairs of one class where every class has one sample, ...) is
        left out; a value is never NaN or infinite.

    Raises:
        ValueError: wrong shapes, no samples, NaN or infinite embeddings, or epsilon not positive.

    Example:
        >>> metrics = geometry_metrics(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> metrics["orthogonality/mean_abs_cos"]
        0.0
    """
    _check(embeddings, labels)
    _check_epsilon(epsilon)
    vectors = _unit_rows(embeddings.detach().cpu().double())
    classes, labels = torch.unique(labels.detach().cpu(), return_inverse=True)
    num_classes = len(classes)
    means = class_mean_directions(vectors, labels, num_classes)
    metrics = (
        _orthogonality_of_means(means)
        | _means_over_pairs(vectors, labels, epsilon)
        | {"neighbourhood/knn_purity": knn_purity(vectors, labels)}
        | _subspace_metrics(vectors, labels, num_classes)
        | _collapse_metrics(vectors)
    )
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def centred(embeddings: Tensor) -> Tensor:
    """The embeddings (N, d) without their global mean.

    Features after a ReLU share an offset that alone makes every cosine large; this takes it away.
    A row that lies on the mean up to rounding becomes exactly zero, so that collapsed embeddings
    do not turn into directions made of rounding errors.

    Example:
        >>> centred(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        tensor([[-1.,  0.],
                [ 1.,  0.]])
    """
    exact = embeddings.detach().cpu().double()
    around_mean = exact - exact.mean(dim=0)
    rounding = 4 * torch.finfo(embeddings.dtype).eps * exact.norm(dim=1).amax()
    on_mean = around_mean.norm(dim=1, keepdim=True) <= rounding
    return around_mean.masked_fill(on_mean, 0.0).to(embeddings)


def class_mean_directions(embeddings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The direction ``u_c`` of each class's mean of unit vectors: (num_classes, d).

    Rows of classes without samples, or whose mean is zero, are NaN.

    Raises:
        ValueError: a label outside [0, num_classes), or wrong shapes.

    Example:
        >>> class_mean_directions(2 * torch.eye(2), torch.tensor([0, 1]), num_classes=2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    _check_shapes(embeddings, labels)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels must lie in [0, {num_classes}), got {int(labels.min())} to "
            f"{int(labels.max())}; num_classes counts all classes of the data set"
        )
    vectors = _unit_rows(_at_least_float32(embeddings))
    sums = vectors.new_zeros(num_classes, vectors.shape[1]).index_add(0, labels.long(), vectors)
    counts = labels.long().bincount(minlength=num_classes).unsqueeze(1)
    means = sums / counts
    has_direction = means.norm(dim=1, keepdim=True) > 8 * torch.finfo(means.dtype).eps
    return torch.where(has_direction, normalize(means, dim=1), math.nan)


def class_mean_cosines(embeddings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Cosines ``u_a . u_b`` of the class means: (num_classes, num_classes), in [-1, 1].

    Rows and columns of classes without a mean are NaN.

    Example:
        >>> class_mean_cosines(torch.eye(2), torch.tensor([0, 1]), num_classes=2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    means = class_mean_directions(embeddings, labels, num_classes)
    return (means @ means.T).clamp(-1, 1)


def drift(now: Tensor, when_learnt: Tensor) -> float:
    """Mean over old classes of ``1 - u_c(now) . u_c(when learnt)``, in [0, 2]; 0 is no drift.

    Args:
        now: (C, d) class-mean directions now.
        when_learnt: (C, d) the same right after each class was learnt; NaN rows for classes that
            are not old (a class learnt just now would count as 0).

    Returns:
        The mean over the rows that both have; NaN if there is none.

    Example:
        >>> drift(torch.tensor([[0.0, 1.0]]), when_learnt=torch.tensor([[1.0, 0.0]]))
        1.0
    """
    if now.shape != when_learnt.shape:
        raise ValueError(
            f"the class means have different shapes: {tuple(now.shape)} now, "
            f"{tuple(when_learnt.shape)} when learnt"
        )
    cosines = (now * when_learnt.to(now)).sum(dim=1)
    return float((1 - cosines.clamp(-1, 1)).nanmean())


def simo_similarity(embeddings: Tensor, epsilon: float = 0.1) -> Tensor:
    """SimO similarity of all pairs: ``eps * o_ij / (eps + d_ij)``, (n, n), in [0, 1].

    It is the SimO loss of a dissimilar pair divided by that loss's largest value on the unit
    sphere, 1 / eps: 1 for one direction, 0 for orthogonal ones, close to 0 for opposite ones.
    Normalized by a constant rather than by the matrix at hand, so matrices can be compared.
    Give it embeddings, or class-mean directions (NaN rows give NaN rows and columns).

    Source: the idea is the paper's Figure 4, whose exact normalization is not published.

    Example:
        >>> simo_similarity(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    _check_epsilon(epsilon)
    vectors = _unit_rows(_at_least_float32(embeddings))
    return _simo_similarity(*_distance_and_overlap(vectors, vectors), epsilon)


def knn_purity(vectors: Tensor, labels: Tensor, k: int = 10) -> float:
    """Mean share of a sample's k nearest others that have its class, in [0, 1].

    Chance is the share of the class among the others; a class with fewer than k + 1 samples
    cannot reach 1. Samples tied for the last places share them, so the order of the samples does
    not matter. With fewer than k others, all of them count. NaN for a single sample.

    Args:
        vectors: (N, d) of unit norm.
        labels: (N,).

    Example:
        >>> vectors = torch.eye(2).repeat_interleave(2, dim=0)
        >>> knn_purity(vectors, torch.tensor([0, 0, 1, 1]), k=1)
        1.0
    """
    k = min(k, len(vectors) - 1)
    if k < 1:
        return math.nan
    shares = [_neighbour_shares(vectors, labels, rows, k) for rows in _row_blocks(len(vectors))]
    return float(torch.cat(shares).mean())


def subspace_overlaps(
    vectors: Tensor, labels: Tensor, num_classes: int, rank: int = 4
) -> tuple[Tensor, Tensor]:
    """Overlap of the classes' principal subspaces, for every pair of classes.

    ``|U_a^T U_b|_F^2 / r`` where U holds the top r uncentred principal directions of a class's
    unit vectors; 0 for orthogonal subspaces, 1 for equal ones, r / d on average for random ones.
    r is at most ``rank`` and d - 1, and at most the rank of both classes' samples: beyond it,
    principal directions are arbitrary.

    Args:
        vectors: (N, d) of unit norm.
        labels: (N,) in [0, num_classes).

    Returns:
        The overlaps and their chance values ``r / d``, one of each for every pair a < b of
        classes with at least one direction.

    Example:
        >>> subspace_overlaps(torch.eye(2), torch.tensor([0, 1]), num_classes=2)
        (tensor([0.]), tensor([0.5000]))
    """
    directions, ranks = _principal_directions(vectors, labels, num_classes, rank)
    first, second = torch.triu_indices(num_classes, num_classes, offset=1).unbind()
    squares = (directions[first].mT @ directions[second]).square()
    shared_rank = torch.minimum(ranks[first], ranks[second])
    leading = torch.arange(squares.shape[-1]) < shared_rank.unsqueeze(1)
    inside = leading.unsqueeze(1) & leading.unsqueeze(2)
    overlaps = (squares * inside).sum(dim=(1, 2)) / shared_rank
    defined = shared_rank > 0
    return overlaps[defined], shared_rank[defined].to(overlaps) / vectors.shape[1]


def effective_rank(singular_values: Tensor) -> float:
    """Exponential of the entropy of the normalized singular values, in [1, min(N, d)].

    Source: Roy & Vetterli, 2007. NaN if all are zero.

    Example:
        >>> effective_rank(torch.tensor([1.0, 0.0]))
        1.0
    """
    shares = singular_values / singular_values.sum()
    return float(torch.special.entr(shares).sum().exp())


def participation_ratio(singular_values: Tensor) -> float:
    """``(sum s^2)^2 / sum s^4``, in [1, min(N, d)]; NaN if all are zero.

    Example:
        >>> participation_ratio(torch.ones(4))
        4.0
    """
    squares = singular_values.square()
    return float(squares.sum().square() / squares.square().sum())


def _orthogonality_of_means(means: Tensor) -> dict[str, float]:
    means = means[~means.isnan().any(dim=1)]
    num_means, dimension = means.shape
    if num_means < 2:
        return {}
    first, second = torch.triu_indices(num_means, num_means, offset=1).unbind()
    cosines = (means @ means.T).clamp(-1, 1)[first, second]
    coherence = float(cosines.abs().amax())
    rms = float(cosines.square().mean().sqrt())
    return {
        "orthogonality/mean_abs_cos": float(cosines.abs().mean()),
        "orthogonality/rms_cos": rms,
        "orthogonality/coherence": coherence,
        "orthogonality/bound_gap": coherence - coherence_bound(num_means, dimension),
        "orthogonality/rms_gap": rms - welch_bound(num_means, dimension),
    }


def _means_over_pairs(vectors: Tensor, labels: Tensor, epsilon: float) -> dict[str, float]:
    sums = torch.zeros(2, 5, dtype=vectors.dtype)
    for rows in _row_blocks(len(vectors)):
        sums += _sums_over_pairs(vectors, labels, rows, epsilon)
    d, o, similarity, antipodal = (sums[:, 1:] / sums[:, :1]).unbind(dim=1)
    ratio = d[0] / d[1] if d[1] > _SAME_COSINE else math.nan
    return {
        "orthogonality/o_within": float(o[0]),
        "orthogonality/o_between": float(o[1]),
        "neighbourhood/d_within": float(d[0]),
        "neighbourhood/d_between": float(d[1]),
        "neighbourhood/ratio": float(ratio),
        "neighbourhood/antipodal_share": float(antipodal[0]),
        "simo/similarity_within": float(similarity[0]),
        "simo/similarity_between": float(similarity[1]),
    }


def _sums_over_pairs(vectors: Tensor, labels: Tensor, rows: Tensor, epsilon: float) -> Tensor:
    """Number of pairs, d, o, SimO similarity and antipodal pairs of some rows with all others.

    (2, 5): of same-class and of different-class pairs.
    """
    cosines = vectors[rows] @ vectors.T
    distances, overlaps = _distance_and_overlap(vectors[rows], vectors)
    same = labels[rows].unsqueeze(1) == labels
    masks = torch.stack([same, ~same])
    masks[0, torch.arange(len(rows)), rows] = False
    quantities = (
        torch.ones_like(cosines),
        distances,
        overlaps,
        _simo_similarity(distances, overlaps, epsilon),
        (cosines < -_SAME_COSINE).to(cosines),
    )
    return torch.stack([(masks * quantity).sum(dim=(1, 2)) for quantity in quantities], dim=1)


def _neighbour_shares(vectors: Tensor, labels: Tensor, rows: Tensor, k: int) -> Tensor:
    """Share of the k nearest others with the row's class, for some rows."""
    cosines = vectors[rows] @ vectors.T
    cosines[torch.arange(len(rows)), rows] = -math.inf
    kth = cosines.topk(k, dim=1).values[:, -1:]
    same = labels[rows].unsqueeze(1) == labels
    nearer = cosines > kth + _SAME_COSINE
    tied = (cosines >= kth - _SAME_COSINE) & ~nearer
    places_left = k - nearer.sum(dim=1)
    tied_share = (tied & same).sum(dim=1).double() / tied.sum(dim=1)
    return ((nearer & same).sum(dim=1) + places_left * tied_share) / k


def _row_blocks(num_rows: int) -> tuple[Tensor, ...]:
    """Row numbers in blocks whose pairs with all rows fit into a processor's cache."""
    return torch.arange(num_rows).split(max(1, _PAIRS_AT_ONCE // num_rows))


def _subspace_metrics(vectors: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    overlaps, chances = subspace_overlaps(vectors, labels, num_classes)
    if not len(overlaps):
        return {}
    overlap, chance = float(overlaps.mean()), float(chances.mean())
    return {
        "neighbourhood/subspace_overlap": overlap,
        "neighbourhood/subspace_overlap_chance": chance,
        "neighbourhood/subspace_overlap_normalized": (overlap - chance) / (1 - chance),
    }


def _collapse_metrics(vectors: Tensor) -> dict[str, float]:
    singular_values = torch.linalg.svdvals(vectors)
    largest = min(vectors.shape)
    values = {
        "collapse/effective_rank": effective_rank(singular_values),
        "collapse/participation_ratio": participation_ratio(singular_values),
    }
    return values | {f"{name}_share": value / largest for name, value in values.items()}


def _principal_directions(
    vectors: Tensor, labels: Tensor, num_classes: int, rank: int
) -> tuple[Tensor, Tensor]:
    """Top directions (C, d, r) of each class, and how many of them are real, (C,)."""
    by_class = vectors[labels.argsort(stable=True)]
    parts = by_class.split(labels.bincount(minlength=num_classes).tolist())
    # Short classes are filled with zero rows, which add no direction.
    groups = pad_sequence(parts, batch_first=True)
    _, singular_values, directions = torch.linalg.svd(groups, full_matrices=False)
    largest = max(min(rank, directions.shape[1], vectors.shape[1] - 1), 0)
    real = singular_values > 1e-6 * singular_values[:, :1]
    return directions[:, :largest].mT, real[:, :largest].sum(dim=1)


def _distance_and_overlap(vectors: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """``d_ij`` and ``o_ij`` of all pairs of two sets of vectors with norm 1 or 0."""
    products = vectors @ others.T
    squares, other_squares = vectors.square().sum(dim=1), others.square().sum(dim=1)
    distances = (squares.unsqueeze(1) + other_squares - 2 * products).clamp(min=0)
    return distances, products.square()


def _simo_similarity(distances: Tensor, overlaps: Tensor, epsilon: float) -> Tensor:
    return (epsilon * overlaps / (epsilon + distances)).clamp(max=1)


def _unit_rows(vectors: Tensor) -> Tensor:
    # Down to the norms whose squares the type still holds.
    return normalize(vectors, dim=1, eps=torch.finfo(vectors.dtype).tiny ** 0.5)


def _at_least_float32(embeddings: Tensor) -> Tensor:
    return embeddings.detach().to(torch.promote_types(embeddings.dtype, torch.float32))


def _check(embeddings: Tensor, labels: Tensor) -> None:
    _check_shapes(embeddings, labels)
    if not embeddings.numel():
        raise ValueError(f"no embeddings: the shape is {tuple(embeddings.shape)}")
    broken = int((~embeddings.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(embeddings)} embeddings contain NaN or infinite values: they have "
            "no geometry; look for a loss that diverged"
        )


def _check_epsilon(epsilon: float) -> None:
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")


def _check_shapes(embeddings: Tensor, labels: Tensor) -> None:
    if embeddings.dim() != 2 or labels.dim() != 1 or len(embeddings) != len(labels):
        raise ValueError(
            "expected embeddings (N, d) and labels (N,), got "
            f"{tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
