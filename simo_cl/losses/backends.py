"""Which code sweeps the pairs, and what that code can be given."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["torch", "triton"]


def check_backend(backend: str, form: str) -> None:
    """Refuse a backend that there is not, here or for this form.

    Raises:
        ValueError: the backend is unknown, or is "triton" in the batch form.
        ImportError: the backend is "triton", which is not installed.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")
    if backend == "torch":
        return
    if form == "batch":
        raise ValueError(
            'backend="triton" sweeps pairs, which form="batch" has none of; use backend="torch" '
            "for it"
        )
    if not torch.compiler.is_compiling() and find_spec("triton") is None:
        raise ImportError(
            'backend="triton" needs the package triton, which is not installed here. PyTorch\'s '
            "builds for CUDA on Linux bring it along; elsewhere `pip install triton`, or use "
            'backend="torch"'
        )


def check_embeddings(backend: str, embeddings: Tensor) -> None:
    """Refuse embeddings that the backend cannot compute.

    Raises:
        TypeError: float64 for "triton".
        ValueError: neither on a CUDA device nor in Triton's interpreter, for "triton".
    """
    if backend == "torch":
        return
    if embeddings.dtype == torch.float64:
        raise TypeError(
            'backend="triton" computes in float32: embeddings must be of the type float32, '
            'bfloat16 or float16, got torch.float64; convert them, or use backend="torch"'
        )
    from simo_cl.losses.pairwise_triton import INTERPRETED

    if embeddings.device.type != "cuda" and not INTERPRETED:
        raise ValueError(
            'backend="triton" needs embeddings on a CUDA device, got them on '
            f'{embeddings.device}; move them, use backend="torch", or run Triton\'s slow '
            "interpreter by setting TRITON_INTERPRET=1 before Python starts"
        )
