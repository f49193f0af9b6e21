"""The further arguments of pytorch-metric-learning's call, made one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simo_cl.losses.arguments import check_are_tensors


def one_batch(
    embeddings: Tensor,
    labels: Tensor,
    indices_tuple: Sequence[Tensor] | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The batch, followed by the reference's rows; labels where the embeddings are.

    A reference's row that `indices_tuple` leaves out as an embedding's own copy is not met twice.

    Raises:
        TypeError: what is no tensor.
        ValueError: a reference without labels or of another shape or device; a miner's choice.
    """
    check_are_tensors(embeddings=embeddings, labels=labels)
    labels = labels.to(embeddings.device)
    if ref_emb is None and ref_labels is None:
        if indices_tuple is not None:
            _copies(indices_tuple, embeddings, None)
        return embeddings, labels
    if ref_emb is None or ref_labels is None:
        given, missing = ("ref_labels", "ref_emb") if ref_emb is None else ("ref_emb", "ref_labels")
        raise ValueError(f"{given} was given without {missing}; SimO needs the class of every row")
    check_are_tensors(ref_emb=ref_emb, ref_labels=ref_labels)
    _check_reference(embeddings, ref_emb, ref_labels)
    ref_labels = ref_labels.to(embeddings.device)
    if indices_tuple is not None:
        new = ~_copies(indices_tuple, embeddings, ref_emb)
        ref_emb, ref_labels = ref_emb[new], ref_labels[new]
    return torch.cat([embeddings, ref_emb]), torch.cat([labels, ref_labels])


def _check_reference(embeddings: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> None:
    if ref_emb.ndim != 2 or ref_emb.shape[1:] != embeddings.shape[1:]:
        raise ValueError(
            f"ref_emb must have the columns of embeddings, {tuple(embeddings.shape)}, "
            f"got {tuple(ref_emb.shape)}"
        )
    if ref_labels.shape != ref_emb.shape[:1]:
        raise ValueError(
            f"ref_labels must have the shape ({len(ref_emb)},), one class for each row of ref_emb, "
            f"got {tuple(ref_labels.shape)}"
        )
    if ref_emb.device != embeddings.device:
        raise ValueError(
            f"ref_emb must be on the device of embeddings, {embeddings.device}, got "
            f"{ref_emb.device}"
        )


def _copies(indices_tuple: Sequence[Tensor], embeddings: Tensor, ref_emb: Tensor | None) -> Tensor:
    """Which rows of the reference an embedding is not compared with, since they are its copies.

    Without a reference, none is a copy: the batch is its own reference.

    Raises:
        ValueError: pairs of other rows are left out, or triplets are given.
    """
    if len(indices_tuple) != 4:
        raise ValueError(f"indices_tuple holds triplets; {_NO_MINER}")
    others = embeddings if ref_emb is None else ref_emb
    left_out = torch.ones(len(embeddings), len(others), dtype=torch.bool, device=embeddings.device)
    for i, j in (indices_tuple[:2], indices_tuple[2:]):
        left_out[i, j] = False
    if ref_emb is None:
        left_out.fill_diagonal_(False)
    i, j = left_out.nonzero(as_tuple=True)
    if (ref_emb is None and len(i)) or not torch.equal(embeddings[i], others[j]):
        raise ValueError(
            f"indices_tuple leaves out {len(i):,} of {left_out.numel():,} pairs; {_NO_MINER}"
        )
    return left_out.any(0)


_NO_MINER = (
    "SimO has no anchors to mine for, it compares whole groups that follow from the labels. Give "
    "it no miner; in MultipleLosses, put None in the place of its miner"
)
