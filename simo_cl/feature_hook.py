"""Take the features of a forward pass out of somebody else's model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class FeatureHook:
    """Captures what goes into, or comes out of, one layer of a model.

    Attach it before the forward pass of interest and detach it right after: a hook that stays on
    a model also sees the forward passes of replay, of distillation and of virtual updates, and
    travels with every copy of the model. Of several passes between the two calls, the first is
    kept, and one that tracks gradients rather than one that does not.

    Args:
        layer: name of a submodule as in ``model.named_modules()``; its *output* is taken. By
            default the *input* of the model's last ``nn.Linear`` is taken, which is the feature
            vector of every usual classifier, wherever it pools.
    """

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer
        self.features: Tensor | None = None
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Starts to listen, forgetting what was captured before.

        Raises:
            ValueError: the model has no layer of that name, or no ``nn.Linear`` to default to.
        """
        self.detach()
        self.features = None
        if self.layer is None:
            self._handle = _last_linear(model).register_forward_pre_hook(
                lambda module, inputs: self._keep(inputs[0])
            )
        else:
            self._handle = _layer(model, self.layer).register_forward_hook(
                lambda module, inputs, output: self._keep(output)
            )

    def detach(self) -> None:
        """Stops listening; what was captured stays in ``features``, (N, d)."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _keep(self, captured: Tensor) -> None:
        if self.features is None or (captured.requires_grad and not self.features.requires_grad):
            self.features = _pooled(captured)


def _pooled(captured: Tensor) -> Tensor:
    """(N, d) as it is, (N, d, H, W) averaged over the positions."""
    if not isinstance(captured, torch.Tensor):
        raise ValueError(
            f"the layer gives a {type(captured).__name__}; choose one that gives a single tensor"
        )
    return captured.mean(dim=(2, 3)) if captured.dim() == 4 else captured.flatten(1)


def _last_linear(model: nn.Module) -> nn.Module:
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear whose input could serve as features; "
            f"name a layer: {_names(model)}"
        )
    return linears[-1]


def _layer(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules or not name:
        raise ValueError(f"no layer {name!r} in {type(model).__name__}; it has: {_names(model)}")
    return modules[name]


def _names(model: nn.Module) -> str:
    return ", ".join(name for name, _ in model.named_modules() if name)
