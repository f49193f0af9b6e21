"""Analytic gradients that refuse to be differentiated again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def first_order_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For the backward of an autograd function whose gradient was computed in its forward.

    `torch.autograd.function.once_differentiable` notices a second derivative only if the incoming
    gradient needs one; without it the second derivative would silently be zero.
    """

    @wraps(backward)
    def checked(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "the SimO loss has no second derivative: its gradient is computed in the forward "
                "pass. Call backward without create_graph=True"
            )
        return backward(ctx, *grads)

    return checked
