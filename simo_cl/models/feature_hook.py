"""Take the features of a forward pass out of somebody else's model."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from simo_cl.models.pooling import (
    Pool,
    Witness,
    channel_axis,
    channel_axis_after,
    mean_over_positions,
)


class FeatureHook:
    """Captures what goes into, or comes out of, one layer of a model.

    Attach it before the forward pass of interest and detach it right after: a hook that stays on
    a model also sees the forward passes of replay, of distillation and of virtual updates, and
    travels with every copy of the model. Of several passes between the two calls, the first is
    kept, and one that tracks gradients rather than one that does not.

    Feature maps and tokens are averaged over their positions where it is known which axis is the
    channels': from the layer's kind (convolutions, batch and group norms and poolings have it
    first; ``nn.Linear``, ``nn.Embedding`` and layer norms last), or from the sizes, by comparison
    with the layer of such a kind that ran last before.

    Args:
        layer: name of a submodule as in ``model.named_modules()``; its *output* is taken. By
            default the *input* of the model's last ``nn.Linear`` is taken, which is the feature
            vector of every usual classifier, wherever it pools. Models with one classifier for
            training and another for evaluation (Avalanche's ``SCRModel``, and what its ``ICaRL``
            makes) give the output of their ``feature_extractor``.
        pool: makes features (N, d) of what was captured, instead of the average.
        remedy: what errors tell the user to do about a layer that does not fit.
    """

    def __init__(
        self,
        layer: str | None = None,
        pool: Pool | None = None,
        remedy: str = "name one with layer=",
    ) -> None:
        self.layer = layer
        self.pool = pool
        self.features: Tensor | None = None
        self._remedy = remedy
        self._name = ""
        self._handles: list[RemovableHandle] = []
        self._witnesses: list[Witness] = []

    def attach(self, model: nn.Module) -> None:
        """Starts to listen, forgetting what was captured before.

        Raises:
            ValueError: the model has no layer of that name, or no ``nn.Linear`` to default to.
        """
        self.detach()
        self.features = None
        layer = self.layer
        if layer is None and _has_two_classifiers(model):
            layer = "feature_extractor"
        self._name = "the input of the last nn.Linear" if layer is None else f"layer {layer!r}"
        if layer is None:
            self._handles.append(
                _last_linear(model).register_forward_pre_hook(
                    lambda module, inputs: self._keep(inputs[0], axis=-1)
                )
            )
            return
        module = _layer(model, layer)
        axis = channel_axis(module)
        if axis is None and self.pool is None:
            self._listen_to_witnesses(model)
        self._handles.append(
            module.register_forward_hook(lambda module, inputs, output: self._keep(output, axis))
        )

    def detach(self) -> None:
        """Stops listening; what was captured stays in ``features``, (N, d)."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._witnesses = [], []

    def take(self, model: nn.Module, samples: int) -> Tensor:
        """The features (samples, d), which are kept no longer.

        Raises:
            ValueError: the forward pass did not go through the layer, or gave other rows.
        """
        features, self.features = self.features, None
        if features is None:
            raise ValueError(
                f"the forward pass did not go through {self._name}; {self._remedy} that it goes "
                f"through, of {_names(model)}"
            )
        if len(features) != samples:
            raise ValueError(
                f"{self._name} gave {len(features)} rows for {samples} labels; {self._remedy} that "
                "keeps one row a sample, samples first"
            )
        return features

    def _listen_to_witnesses(self, model: nn.Module) -> None:
        for module in model.modules():
            axis = channel_axis(module)
            if axis is not None:
                self._handles.append(
                    module.register_forward_hook(
                        lambda module, inputs, output, axis=axis: self._witness(output, axis)
                    )
                )

    def _witness(self, output: Tensor, axis: int) -> None:
        if isinstance(output, torch.Tensor):
            self._witnesses.append(Witness(axis, output.shape))

    def _keep(self, captured: Tensor, axis: int | None) -> None:
        if not isinstance(captured, torch.Tensor):
            self._refuse(f"gives a {type(captured).__name__}; {self._remedy} that gives a tensor")
        if self.features is None or (captured.requires_grad and not self.features.requires_grad):
            self.features = self._pooled(captured, axis)

    def _pooled(self, captured: Tensor, axis: int | None) -> Tensor:
        if self.pool is not None:
            features = self.pool(captured)
            if features.dim() != 2:
                self._refuse(
                    f"gives {tuple(captured.shape)}, of which pool made {tuple(features.shape)}; "
                    "it must make (N, d)"
                )
            return features
        if captured.dim() == 2:
            # The next layer may work in place.
            return captured.clone()
        if captured.dim() > 2:
            axis = axis or channel_axis_after(captured.shape, self._witnesses)
        if captured.dim() < 2 or axis is None:
            self._refuse(
                f"gives {tuple(captured.shape)}, and which axis is the channels' is not known; "
                f"{self._remedy} that gives (N, d), or pass pool=, a function from this shape to "
                "(N, d), such as lambda x: x.mean(dim=(1, 2)) for (N, H, W, d)"
            )
        return mean_over_positions(captured, axis)

    def _refuse(self, what: str) -> NoReturn:
        self.detach()
        raise ValueError(f"{self._name} {what}")


def _has_two_classifiers(model: nn.Module) -> bool:
    parts = ("feature_extractor", "train_classifier", "eval_classifier")
    return all(isinstance(getattr(model, part, None), nn.Module) for part in parts)


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
