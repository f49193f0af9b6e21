"""What the loss can be given; everything else is refused with a message that names it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from inspect import Parameter
from numbers import Integral
from typing import (
    Any,
    Literal,
    NamedTuple,
    SupportsFloat,
    TypedDict,
    TypeVar,
    get_args,
    get_type_hints,
)

import torch
from torch import Tensor

from simo_cl.losses.backends import Backend, check_backend, check_embeddings
from simo_cl.losses.layout import can_be_read
from simo_cl.registry import did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])
Form = Literal["pairwise", "rectified", "kernel", "distance", "orthogonality", "batch"]
Reduction = Literal["mean", "sum"]


class Keywords(TypedDict, total=False):
    """The settings that a caller may give; `simo_cl.losses.simo_loss` explains them."""

    form: Form
    epsilon: float
    leaning: float
    bias: float
    normalize: bool
    normalize_means: bool
    reduction: Reduction
    samples_per_class: int | None
    distributed: bool
    backend: Backend


class Settings(NamedTuple):
    """All of them."""

    form: Form = "pairwise"
    epsilon: float = 0.1
    leaning: float = 0.0
    bias: float = 0.0
    normalize: bool = True
    normalize_means: bool = False
    reduction: Reduction = "mean"
    samples_per_class: int | None = None
    distributed: bool = False
    backend: Backend = "torch"


def lists_settings(function: Function) -> Function:
    """Has the signature of a function that takes ``**settings`` name each with its default, as
    notebooks complete and help shows them."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    settings = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Settings._field_defaults[name],
            annotation=annotation,
        )
        for name, annotation in get_type_hints(Settings).items()
    ]
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *settings]
    )
    return function


def settings_of(keywords: Keywords) -> Settings:
    """With the defaults of what is not given.

    Raises:
        TypeError, ValueError: there is no such setting, value or combination.
    """
    for name in keywords:
        if name not in Settings._fields:
            there_are = ", ".join(Settings._fields)
            raise TypeError(
                f"the SimO loss has no setting {name!r}; it has weights, {there_are}."
                f"{did_you_mean(name, Settings._fields)}"
            )
    settings = Settings(**keywords)
    if settings.form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}, got {settings.form!r}")
    if settings.reduction not in get_args(Reduction):
        known = get_args(Reduction)
        raise ValueError(f"reduction must be one of {known}, got {settings.reduction!r}")
    _check_numbers(epsilon=settings.epsilon, leaning=settings.leaning, bias=settings.bias)
    if not (math.isfinite(settings.epsilon) and settings.epsilon > 0):
        raise ValueError(f"epsilon must be a positive number, got {settings.epsilon!r}")
    if not 0 <= settings.leaning <= 1:
        raise ValueError(f"leaning must be a number from 0 to 1, got {settings.leaning!r}")
    if not (math.isfinite(settings.bias) and settings.bias >= 0):
        raise ValueError(f"bias must be a number that is not negative, got {settings.bias!r}")
    if settings.form == "kernel" and settings.leaning >= 0.5:
        raise ValueError(
            'leaning must be below 0.5 in form="kernel", where the dissimilar loss has the power '
            f"1 - 2 leaning and would attract from there on, got {settings.leaning!r}"
        )
    if settings.form != "kernel" and settings.bias:
        raise ValueError(
            f'bias is of form="kernel" alone, got bias={settings.bias!r} in '
            f"form={settings.form!r}; leave it out"
        )
    samples = settings.samples_per_class
    if samples is not None and not (isinstance(samples, Integral) and samples >= 1):
        raise ValueError(
            f"samples_per_class must be a whole number, at least 1, or None, got {samples!r}"
        )
    check_backend(settings.backend, settings.form)
    return settings


def check_positive(**arguments: float) -> None:
    _check_numbers(**arguments)
    for name, value in arguments.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value!r}; it must be positive and finite")


def check_not_negative(**arguments: float) -> None:
    _check_numbers(**arguments)
    for name, value in arguments.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}; it must be 0 or more and finite")


def _check_numbers(**arguments: float) -> None:
    for name, value in arguments.items():
        if not isinstance(value, SupportsFloat):
            raise TypeError(f"{name} is {value!r}; it must be a number")


def weights_of(weights: Sequence[float]) -> tuple[float, ...]:
    """As numbers, which those in a tensor or an array are not: they could be written to.

    Raises:
        ValueError: not three numbers that are not negative.
    """
    try:
        numbers = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(w) and w >= 0 for w in numbers):
        raise ValueError(
            "weights must be three numbers that are not negative, of the terms similar, means and "
            f"dissimilar, got {weights!r}"
        )
    return tuple(numbers)


def check_are_tensors(**arguments: object) -> None:
    for name, argument in arguments.items():
        if not isinstance(argument, Tensor):
            raise TypeError(
                f"{name} must be a tensor, got {type(argument).__name__}; torch.as_tensor makes "
                "one of lists and NumPy arrays"
            )


def check_tensors(embeddings: Tensor, labels: Tensor, backend: str) -> None:
    check_are_tensors(embeddings=embeddings, labels=labels)
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
    check_embeddings(backend, embeddings)


def check_not_empty(embeddings: Tensor) -> None:
    if embeddings.shape[0] == 0 or embeddings.shape[1] == 0:
        raise ValueError(
            f"embeddings must hold at least one row and one column, got {tuple(embeddings.shape)}"
        )


def check_finite(embeddings: Tensor, results: Sequence[Tensor]) -> None:
    """Refuse NaN and infinite embeddings where looking at a value does not wait for a device.

    results: the scalars computed from the embeddings.
    """
    if torch.compiler.is_compiling():
        return
    if (can_be_read(embeddings) or torch.is_anomaly_enabled()) and not math.isfinite(
        sum(result.item() for result in results)
    ):
        bad = (~embeddings.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"embeddings must be finite, got NaN or infinite values in {len(bad)} of "
                f"{len(embeddings)} rows, the first in row {bad[0]}"
            )
