"""Features and embeddings of images, from a model in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from avalanche.training.plugins import SupervisedPlugin
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from simo_cl.models import evaluating
from simo_cl.models.feature_hook import FeatureHook


@dataclass
class Embedded:
    """Of N images, in the order in which they came, on the CPU.

    Attributes:
        spaces: ``"features"`` (N, F), and ``"embedding"`` (N, d) where the model has a head.
        labels: (N,).
    """

    spaces: dict[str, Tensor]
    labels: Tensor

    def first_per_class(self, classes: Sequence[int], samples_per_class: int) -> Embedded:
        """The first samples of each of the given classes, class by class."""
        rows = [(self.labels == c).nonzero().flatten()[:samples_per_class] for c in classes]
        chosen = torch.cat(rows)
        spaces = {space: points[chosen] for space, points in self.spaces.items()}
        return Embedded(spaces, self.labels[chosen])


def in_half_precision(points: Tensor) -> NDArray[np.floating]:
    """Points (..., N, d) as float16, where every point keeps its length to a thousandth; the same
    as float32 where one is too large or too small for that."""
    exact = points.numpy().astype(np.float32)
    with np.errstate(over="ignore"):
        halves = exact.astype(np.float16)
    norms, lost = (np.linalg.norm(a.astype(np.float64), axis=-1) for a in (exact, exact - halves))
    return halves if (lost <= 1e-3 * norms).all() else exact


class EvaluationRecorder(SupervisedPlugin):
    """Keeps what the model makes of every image of an evaluation.

    Args:
        layers: name of a space to the name of the submodule that gives it.
    """

    def __init__(self, layers: dict[str, str]) -> None:
        super().__init__()
        self._hooks = {space: _hook(layer) for space, layer in layers.items()}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept from one evaluation to the next."""

    def before_eval(self, strategy: Any, **kwargs: Any) -> None:
        self._spaces: dict[str, list[Tensor]] = {space: [] for space in self._hooks}
        self._labels: list[Tensor] = []
        self._predictions: list[Tensor] = []

    def before_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        for hook in self._hooks.values():
            hook.attach(strategy.model)

    def after_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        for space, hook in self._hooks.items():
            hook.detach()
            features = hook.take(strategy.model, len(strategy.mb_y))
            self._spaces[space].append(features.float())
        self._labels.append(strategy.mb_y)
        self._predictions.append(strategy.mb_output.argmax(dim=1))

    def take(self) -> tuple[Embedded, Tensor]:
        """What the last evaluation gave, with the predicted classes (N,); it is kept no longer."""
        embedded = _joined(self._spaces, self._labels)
        predictions = torch.cat(self._predictions).cpu()
        self._spaces, self._labels, self._predictions = {}, [], []
        return embedded, predictions


@torch.no_grad()
def embed(
    model: nn.Module, dataset: Any, layers: dict[str, str], batch_size: int, device: torch.device
) -> Embedded:
    """Embeds a data set.

    Args:
        model: evaluated, and left in the mode it was in.
        dataset: items (image, label, ...), with evaluation transforms.
        layers: name of a space to the name of the submodule that gives it: ``"features"`` from
            images, ``"embedding"`` from what that gives.
        batch_size: images a forward pass.
        device: of the model.
    """
    parts: dict[str, list[Tensor]] = {space: [] for space in layers}
    hooks = {space: _hook(layer) for space, layer in layers.items()}
    all_labels = []
    loader = DataLoader(
        dataset, batch_size=batch_size, collate_fn=getattr(dataset, "collate_fn", None)
    )
    with evaluating(model):
        for images, labels, *_ in loader:
            points = images.to(device)
            for space, layer in layers.items():
                hooks[space].attach(model)
                points = model.get_submodule(layer)(points)
                hooks[space].detach()
                parts[space].append(hooks[space].take(model, len(labels)).float())
            all_labels.append(labels)
    return _joined(parts, all_labels)


def _hook(layer: str) -> FeatureHook:
    return FeatureHook(
        layer,
        remedy="set FEATURE_LAYER in the strategy's file to a submodule from images to features",
    )


def _joined(spaces: dict[str, list[Tensor]], labels: list[Tensor]) -> Embedded:
    joined = {space: torch.cat(parts).cpu() for space, parts in spaces.items()}
    return Embedded(joined, torch.cat(labels).cpu())
