"""Small strategies, and a plugin that looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from avalanche.logging import BaseLogger
from avalanche.models import SCRModel
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.supervised import SCR, ICaRL
from torch import nn

from simo_cl.models import Classifier, EmbeddingModel, build_encoder, projection_head
from simo_cl.streams.augmentation import tensor_augmentation

NUM_FEATURES = 16


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_encoder("small_cnn", channels=1, width=2), 6)


def embedding_model(width: int = 2, read_out: str = "features") -> EmbeddingModel:
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", channels=1, width=width)
    return EmbeddingModel(encoder, projection_head("mlp", encoder.num_features, 8), 6, read_out)


def quiet(*metrics: Any) -> EvaluationPlugin:
    return EvaluationPlugin(*metrics, loggers=[BaseLogger()])


def stock(kind: Callable[..., Any], model: nn.Module | None = None, **settings: Any) -> Any:
    """One of Avalanche's strategies in batches of 16, three to an experience of the stream."""
    model = classifier() if model is None else model
    defaults = {
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "criterion": nn.CrossEntropyLoss(),
        "train_mb_size": 16,
        "eval_mb_size": 64,
        "evaluator": quiet(),
    }
    return kind(model=model, **{**defaults, **settings})


class Witness(SupervisedPlugin):
    """Keeps what a function makes of the strategy, each time a hook is called."""

    def __init__(self, hook: str, look: Callable[[Any], Any]) -> None:
        super().__init__()
        self.seen: list[Any] = []
        setattr(self, hook, lambda strategy, **kwargs: self.seen.append(look(strategy)))


def icarl(*, plugins: list[Any], **options: Any) -> ICaRL:
    model = classifier()
    return ICaRL(
        feature_extractor=model.encoder,
        classifier=model.classifier,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        memory_size=24,
        buffer_transform=tensor_augmentation(["flip"], 8),
        fixed_memory=True,
        train_mb_size=16,
        eval_mb_size=64,
        plugins=plugins,
        **{"evaluator": quiet(), **options},
    )


def scr(*, plugins: list[Any], **options: Any) -> SCR:
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", channels=1, width=8)
    projection = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    model = SCRModel(encoder, projection)
    defaults = {"evaluator": quiet(), "eval_mb_size": 64}
    return SCR(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        augmentations=HorizontalFlip(),
        mem_size=24,
        train_mb_size=16,
        batch_size_mem=16,
        plugins=plugins,
        **{**defaults, **options},
    )


class HorizontalFlip(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flip(3)
