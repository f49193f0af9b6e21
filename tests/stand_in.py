"""A device that every machine has: it computes on the CPU, and is as strict as a GPU.

Its tensors say that they are on ``stand_in:0``. They refuse to be computed with tensors in host
memory, to be pinned and to be read as NumPy arrays, and each value that leaves the device is noted
with the place in the code that asked for it. Unlike the meta device's they have values, so that
what a run gives on it can be compared with what it gives on the CPU.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

NAME = "stand_in"


class StandIn(TorchDispatchMode):
    """The device, while it is there.

    Attributes:
        device: to compute on.
        left: where values left the device, to which operations made them leave.
        operators: the names of those that computed on it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.left: dict[str, set[str]] = defaultdict(set)
        self.operators: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name()
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = [tensor for tensor in given if isinstance(tensor, _OnDevice)]
        if name == "aten::_pin_memory":
            return self._pin(args[0])
        if len(on_device) < len(given):
            _refuse_other_devices(name, args, given)
        result_on_device = bool(on_device)
        if kwargs.get("device") is not None:
            result_on_device = kwargs["device"].type == NAME
            kwargs = {**kwargs, "device": torch.device("cpu")}
        elif name == "aten::copy_":
            result_on_device = isinstance(args[0], _OnDevice)
        if on_device:
            self.operators.add(func.overloadpacket.__name__)
        if on_device and (name in _READS or not result_on_device or _has_mask(name, args)):
            self.left[_place()].add(name.removeprefix("aten::"))
        unwrapped = tree_map_only(_OnDevice, lambda tensor: tensor.content, (args, kwargs))
        results = func(*unwrapped[0], **unwrapped[1])
        if not result_on_device:
            return results
        known = {id(tensor.content): tensor for tensor in on_device}
        return tree_map_only(
            Tensor, lambda x: known[id(x)] if id(x) in known else _OnDevice(x), results
        )

    def _pin(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, _OnDevice):
            raise RuntimeError("cannot pin: only dense CPU tensors can be pinned")
        return tensor.clone()


@contextmanager
def stand_in_device() -> Iterator[StandIn]:
    """The device, as torch's current accelerator.

    Only in a process in which nothing was differentiated before: torch's autograd looks once for
    the devices there are.
    """
    _register()
    _Hook.there = True
    try:
        with StandIn() as device:
            yield device
    finally:
        _Hook.there = False


class _OnDevice(Tensor):
    """A tensor whose content only the device can reach."""

    content: Tensor

    @staticmethod
    def __new__(cls, content: Tensor) -> _OnDevice:
        tensor = Tensor._make_wrapper_subclass(
            cls,
            content.size(),
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            device=torch.device(NAME, 0),
        )
        tensor.content = content
        return tensor

    def __torch_dispatch__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the stand-in device is not there any more")

    def __repr__(self, **_: Any) -> str:
        return f"{self.content} on {NAME}"


class _Hook(_DummyPrivateUse1Hook):
    there = False

    def is_available(self) -> bool:
        return _Hook.there


class _Backend(_DummyBackendModule):
    def is_available(self) -> bool:
        return _Hook.there

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def _register() -> None:
    if hasattr(torch, NAME):
        return
    _setup_privateuseone_for_python_backend(NAME, _Backend(), _Hook())
    # What torch calls past the mode when a number is assigned to an element.
    _LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")
    _LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")


_LIBRARY = torch.library.Library("aten", "IMPL")


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return _OnDevice(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    assert isinstance(target, _OnDevice)
    target.content.copy_(source.content if isinstance(source, _OnDevice) else source)
    return target


# Operations whose result, or its shape, is known on the host alone.
_READS = {
    "aten::_local_scalar_dense",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
}
_OF_SEVERAL_DEVICES = {"aten::copy_", "aten::_to_copy"}


def _refuse_other_devices(name: str, args: Any, given: list[Tensor]) -> None:
    """As CUDA does: with its tensors go host tensors without dimensions, and indices."""
    if name in _OF_SEVERAL_DEVICES or not any(isinstance(tensor, _OnDevice) for tensor in given):
        return
    if name in ("aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"):
        given = [args[0]]
    if any(tensor.dim() for tensor in given if not isinstance(tensor, _OnDevice)):
        raise RuntimeError(f"{name} got tensors on the device and in host memory")


def _has_mask(name: str, args: Any) -> bool:
    return name == "aten::index.Tensor" and any(
        index is not None and index.dtype == torch.bool for index in args[1]
    )


def _place() -> str:
    """The innermost function that is neither torch's nor this module's."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        path, function = Path(frame.f_code.co_filename), frame.f_code.co_name
        if "torch" not in path.parts and path != Path(__file__) and not function.startswith("<"):
            return f"{_known_as(path)}: {function}"
        frame = frame.f_back
    return "torch"


def _known_as(path: Path) -> str:
    for package in ("simo_cl", "strategies", "avalanche", "pytorch_metric_learning"):
        if package in path.parts:
            start = len(path.parts) - 1 - path.parts[::-1].index(package)
            return "/".join(path.parts[start:])
    return path.name
