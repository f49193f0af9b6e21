"""What the contestants of a comparison of streams have in common: data, streams and networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.logging import BaseLogger
from avalanche.models import SlimResNet18
from avalanche.training.plugins import EvaluationPlugin
from PIL import Image
from torch import nn
from torch.optim import SGD
from torch.utils.data import Dataset
from torchvision import transforms as tv

from simo_cl.models import Classifier, EmbeddingModel, Encoder, build_encoder, projection_head
from simo_cl.streams import DataSet, Images
from simo_cl.streams.class_incremental import ClassIncremental, class_incremental

EMPTY, SLIM, STOCK_SLIM = "empty", "slim ResNet-18", "Avalanche's SlimResNet18"

# Contestants.
STOCK, ON_OURS, BARE = "stock Avalanche", "stock strategy, our data", "bare loop"
OURS_SPLIT, OURS = "ours, split_online_stream", "ours, one call an experience"


@dataclass(frozen=True)
class Scene:
    """What the contestants of a comparison have in common.

    Attributes:
        data: the data set.
        network: `EMPTY`, an average over the pixels and a linear layer; `SLIM`, ours; or
            `STOCK_SLIM`, the same layers as Avalanche has them.
        precision: of `SLIM`.
        augment: names of augmentations, "crop" and "flip".
        device: to train on.
        width: of the slim ResNet-18.
        experiences: of the stream.
    """

    data: DataSet
    network: str
    precision: str = "float32"
    augment: tuple[str, ...] = ()
    device: str = "cpu"
    width: int = 20
    experiences: int = 5

    @cached_property
    def resident(self) -> ClassIncremental:
        """The stream on our data set."""
        return class_incremental(
            self.data,
            experiences=self.experiences,
            seed=None,
            augment=self.augment,
            device=self.device,
        )

    @cached_property
    def stock(self) -> Any:
        """The stream on pictures in memory that torchvision transforms one by one."""
        size = self.data.size
        known = {
            "crop": tv.RandomCrop(size, padding=size // 8),
            "flip": tv.RandomHorizontalFlip(),
        }
        normalize = [tv.ToTensor(), tv.Normalize(self.data.mean, self.data.std)]
        return stock_stream(
            self.data, [*(known[name] for name in self.augment), *normalize], self.experiences
        )

    def encoder(self) -> Encoder:
        if self.network == EMPTY:
            pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return Encoder(pool, self.data.channels, "float32")
        return build_encoder(
            "slim_resnet18",
            channels=self.data.channels,
            width=self.width,
            precision=self.precision,
        )

    def feature_extractor(self) -> tuple[nn.Module, int]:
        """A network without its last layer, and the number of features."""
        if self.network == STOCK_SLIM:
            model = SlimResNet18(1, nf=self.width)
            features, model.linear = model.linear.in_features, nn.Identity()
            return model.to(self.device), features
        encoder = self.encoder()
        return encoder.to(self.device), encoder.num_features

    def classifier(self) -> nn.Module:
        if self.network == STOCK_SLIM:
            return SlimResNet18(self.data.num_classes, nf=self.width).to(self.device)
        encoder = self.encoder()
        if self.network == EMPTY:
            linear = nn.Linear(encoder.num_features, self.data.num_classes)
            return nn.Sequential(*encoder.backbone, linear).to(self.device)
        return Classifier(encoder, self.data.num_classes).to(self.device)

    def embedding_model(self) -> EmbeddingModel:
        encoder = self.encoder()
        head = projection_head("mlp", encoder.num_features, 128)
        return EmbeddingModel(encoder, head, self.data.num_classes).to(self.device)

    def arguments(self, model: nn.Module, batch: int) -> dict[str, Any]:
        """What every strategy takes."""
        return {
            "model": model,
            "train_mb_size": batch,
            **self.arguments_without_model(model),
        }

    def arguments_without_model(self, model: nn.Module) -> dict[str, Any]:
        return {
            "optimizer": SGD(model.parameters(), lr=0.01),
            "eval_mb_size": 500,
            "device": self.device,
            "evaluator": EvaluationPlugin(loggers=[BaseLogger()]),
        }


class Pictures(Dataset):
    """A data set in memory as torchvision's CIFAR-10 is: an array, and a picture at each access."""

    def __init__(self, images: Images) -> None:
        self.data = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = images.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.data[index]), self.targets[index]


def stock_stream(data: DataSet, transforms: list[Any], experiences: int) -> Any:
    """Avalanche's own class-incremental benchmark."""
    return nc_benchmark(
        Pictures(data.train),
        Pictures(data.test),
        experiences,
        task_labels=False,
        fixed_class_order=list(range(data.num_classes)),
        train_transform=tv.Compose(transforms),
        eval_transform=tv.Compose(transforms),
    )


def random_data(per_class: int, size: int = 32) -> DataSet:
    """Noise of CIFAR-10's shape."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Images:
        shape = (10 * count, 3, size, size)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.arange(10).repeat_interleave(count))

    names = tuple(f"class {label}" for label in range(10))
    note = f"random images, {per_class:,} a class"
    return DataSet("random", images(per_class), images(max(10, per_class // 5)), names, note)


def smaller(data: DataSet, per_class: int) -> DataSet:
    """The first training images of each class, and as few of the test images as may be."""
    train = first_of_each_class(data.train.labels.numpy(), per_class)
    test = first_of_each_class(data.test.labels.numpy(), 10)
    return DataSet(
        data.name,
        Images(data.train.images[train], data.train.labels[train]),
        Images(data.test.images[test], data.test.labels[test]),
        data.class_names,
        data.note,
    )


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)])
