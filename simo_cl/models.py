"""Encoders, projection heads, and the two models that strategies train: one that classifies, one
that embeds."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simo_cl.pooling import Pool, axis_of_size, mean_over_positions

Norm = Literal["batch", "group"]
Precision = Literal["float32", "bfloat16"]
Head = Literal["none", "linear", "mlp"]
ReadOut = Literal["features", "embedding"]

UNSEEN_CLASS_SCORE = -1e4
"""Score of a class that has no mean yet: below every real one, and finite, because an infinite one
turns losses and averages into NaN."""


class Classifier(nn.Module):
    """An encoder with one linear layer over all classes, those still to come included.

    Args:
        encoder: see :func:`build_encoder`.
        num_classes: number of classes of the whole stream.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, H, W) to class scores (N, num_classes)."""
        return self.classifier(self.encoder(images))


class EmbeddingModel(nn.Module):
    """An encoder with a projection head that embeds while it trains and classifies when evaluated.

    In training mode, and inside :meth:`embedding`, it gives the embeddings that a contrastive loss
    wants, (N, d). In evaluation mode it gives class scores (N, num_classes): minus the squared
    distance, in [-4, 0], of the unit-norm features to each class's mean, and ``UNSEEN_CLASS_SCORE``
    for a class without one.

    Args:
        encoder: see :func:`build_encoder`.
        head: maps features (N, num_features) to embeddings; see :func:`projection_head`.
        num_classes: number of classes of the whole stream.
        read_out: the space in which class means are compared, ``"features"`` (the encoder's, as is
            usual where a projection head is thrown away) or ``"embedding"``.
    """

    class_means: Tensor
    has_mean: Tensor

    def __init__(
        self, encoder: Encoder, head: nn.Module, num_classes: int, read_out: ReadOut = "features"
    ) -> None:
        super().__init__()
        if read_out not in ("features", "embedding"):
            raise ValueError(f"read_out is {read_out!r}; it must be 'features' or 'embedding'")
        self.encoder = encoder
        self.head = head
        self.read_out = read_out
        self._embeds_in_evaluation = False
        dimension = encoder.num_features
        if read_out == "embedding":
            dimension = _output_width(head, encoder.num_features)
        self.register_buffer("class_means", torch.zeros(num_classes, dimension))
        self.register_buffer("has_mean", torch.zeros(num_classes, dtype=torch.bool))

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        # The head runs in evaluation too, where its output is measured beside the read-out.
        embeddings = self.head(features)
        if self.training or self._embeds_in_evaluation:
            return embeddings
        return self._scores(features if self.read_out == "features" else embeddings)

    @contextmanager
    def embedding(self, yes: bool = True) -> Iterator[None]:
        """A context in which the model embeds in evaluation mode, too; or, inside one, does not."""
        before, self._embeds_in_evaluation = self._embeds_in_evaluation, yes
        try:
            yield
        finally:
            self._embeds_in_evaluation = before

    def read_out_points(self, images: Tensor) -> Tensor:
        """Images (N, channels, H, W) to points of the read-out space, (N, dimension)."""
        features = self.encoder(images)
        return features if self.read_out == "features" else self.head(features)

    def set_class_means(self, points: Tensor, labels: Tensor) -> None:
        """Replaces all class means by those of the given points.

        Args:
            points: (N, d) in the read-out space; their directions count, not their lengths.
            labels: (N,), in ``range(num_classes)``.
        """
        num_classes = self.class_means.shape[0]
        points = F.normalize(points.to(self.class_means), dim=1)
        one_hot = F.one_hot(labels.to(points.device), num_classes).to(points)
        counts = one_hot.sum(dim=0)
        self.class_means = one_hot.T @ points / counts.clamp(min=1)[:, None]
        self.has_mean = counts > 0

    def _scores(self, points: Tensor) -> Tensor:
        points = F.normalize(points, dim=1)
        distances = torch.cdist(
            points, self.class_means, compute_mode="donot_use_mm_for_euclid_dist"
        )
        return torch.where(self.has_mean, -distances.square(), UNSEEN_CLASS_SCORE)


class Encoder(nn.Module):
    """A backbone that runs in the given precision and gives float32 features (N, num_features).

    Autocast and the faster memory layout are applied here, inside the forward pass, because
    strategies that replay or distil call the model themselves, outside any context around the
    training loop. A backbone's feature maps or tokens are averaged over their positions where the
    number of features tells which axis is the channels'.

    Attributes:
        images_forwarded: in training mode, by everybody who called the encoder.
    """

    def __init__(self, backbone: nn.Module, num_features: int, precision: Precision) -> None:
        super().__init__()
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is {precision!r}; it must be 'float32' or 'bfloat16'")
        # The weights stay contiguous: strategies that project gradients (A-GEM, GEM) flatten them.
        self.backbone = backbone
        self.num_features = num_features
        self.precision = precision
        self.images_forwarded = 0
        self._has_channels_across_lines = any(
            module.num_features % 16
            for module in backbone.modules()
            if isinstance(module, nn.BatchNorm2d)
        )

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.images_forwarded += len(images)
        images = images.contiguous(memory_format=self._memory_format(images.device.type))
        with self._autocast(images.device.type):
            features = self.backbone(images).float()
        return features if features.dim() == 2 else self._pooled(features)

    def _pooled(self, features: Tensor) -> Tensor:
        axis = axis_of_size(features.shape, self.num_features) if features.dim() > 2 else None
        if axis is None:
            raise ValueError(
                f"the encoder gives {tuple(features.shape)}, in which not exactly one of the "
                f"second and the last axis has its {self.num_features} features; register it with "
                "pool=, a function from this shape to (N, features)"
            )
        return mean_over_positions(features, axis)

    def _memory_format(self, device_type: str) -> torch.memory_format:
        # On the CPU, the backward pass of batch normalization divides channels among threads. In
        # channels-last the threads write to the same cache lines unless the channels are a
        # multiple of 16: two threads take three times as long for 20 channels as one does. In
        # float32, convolutions gain as much from channels-last as that costs.
        threads_collide = (
            self.training
            and device_type == "cpu"
            and self.precision == "bfloat16"
            and self._has_channels_across_lines
            and torch.get_num_threads() > 1
        )
        return torch.contiguous_format if threads_collide else torch.channels_last

    def _autocast(self, device_type: str) -> AbstractContextManager[None]:
        if not torch.amp.is_autocast_available(device_type):  # such as "meta"
            return nullcontext()
        enabled = self.precision == "bfloat16"
        return torch.autocast(device_type, torch.bfloat16, enabled=enabled)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in which the model is in evaluation mode; each submodule gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


EncoderBuilder = Callable[[int, int, Norm], tuple[nn.Module, int]]
"""(input channels, width, normalisation) to a backbone and its number of features."""

_BUILDERS: dict[str, EncoderBuilder] = {}


def register_encoder(name: str, build: EncoderBuilder, pool: Pool | None = None) -> None:
    """Makes an encoder of your own available to suites as ``model.encoder: name``.

    Args:
        name: must be new.
        build: takes (input channels, width, "batch" or "group") and gives a module that maps images
            (N, channels, H, W) to features (N, F), and F. Feature maps and tokens are averaged over
            their positions where F is the size of either the second or the last axis.
        pool: makes (N, F) of what the module gives, instead of that average.
    """
    if name in _BUILDERS:
        raise ValueError(f"there is an encoder {name!r} already; choose another name")
    _BUILDERS[name] = build if pool is None else partial(_build_pooled, build, pool)


def encoder_names() -> list[str]:
    """Names that :func:`build_encoder` knows."""
    return sorted(_BUILDERS)


def build_encoder(
    name: str,
    *,
    channels: int = 3,
    width: int = 20,
    norm: Norm = "batch",
    precision: Precision = "float32",
) -> Encoder:
    """Builds an encoder.

    Args:
        name: ``"slim_resnet18"`` (Lopez-Paz & Ranzato 2017, as in Avalanche; width 20),
            ``"resnet18"`` (the CIFAR ResNet-18 of He et al. 2016; width 64), ``"small_cnn"`` for
            8 x 8 digits (width 32), or one that you registered.
        channels: of the images.
        width: channels of the first stage.
        norm: batch normalisation, or group normalisation with at most 8 groups.
        precision: ``"bfloat16"`` runs the backbone under autocast.
    """
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no encoder {name!r}; there are {', '.join(encoder_names())}.{hint}")
    backbone, num_features = _BUILDERS[name](channels, width, norm)
    return Encoder(backbone, num_features, precision)


def projection_head(kind: Head, num_features: int, dimension: int) -> nn.Module:
    """Maps features to embeddings: not at all, by a linear map, or by an MLP with one hidden layer
    as wide as the features (Khosla et al. 2020)."""
    if kind == "none":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(num_features, dimension)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(num_features, num_features),
            nn.ReLU(inplace=True),
            nn.Linear(num_features, dimension),
        )
    raise ValueError(f"head is {kind!r}; it must be 'none', 'linear' or 'mlp'")


@torch.no_grad()
def _output_width(head: nn.Module, num_features: int) -> int:
    # On a copy in evaluation mode, so that a head with running statistics keeps its own.
    probe = copy.deepcopy(head).eval()
    device = next((p.device for p in probe.parameters()), None)
    return probe(torch.zeros(2, num_features, device=device)).shape[1]


def _build_pooled(
    build: EncoderBuilder, pool: Pool, channels: int, width: int, norm: Norm
) -> tuple[nn.Module, int]:
    backbone, num_features = build(channels, width, norm)
    return nn.Sequential(backbone, _Apply(pool)), num_features


class _Apply(nn.Module):
    def __init__(self, function: Pool) -> None:
        super().__init__()
        self.function = function

    def forward(self, points: Tensor) -> Tensor:
        return self.function(points)


def _resnet18(channels: int, width: int, norm: Norm) -> tuple[nn.Module, int]:
    from avalanche.models import SlimResNet18

    stages = SlimResNet18(1, nf=width)
    if channels != 3:
        stages.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
    backbone = nn.Sequential(
        stages.conv1,
        stages.bn1,
        nn.ReLU(inplace=True),
        stages.layer1,
        stages.layer2,
        stages.layer3,
        stages.layer4,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return _with_norm(backbone, norm), 8 * width


def _small_cnn(channels: int, width: int, norm: Norm) -> tuple[nn.Module, int]:
    backbone = nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        _Quarters(),
        nn.Flatten(),
    )
    return _with_norm(backbone, norm), 8 * width


class _Quarters(nn.Module):
    """Images (N, channels, H, W) to the averages of their quarters, (N, channels, 2, 2).

    What ``nn.AdaptiveAvgPool2d(2)`` computes, whose gradient has no deterministic form on CUDA.
    """

    def forward(self, images: Tensor) -> Tensor:
        height, width = (max(2, size) for size in images.shape[-2:])
        images = images.expand(-1, -1, height, width)
        kernel = math.ceil(height / 2), math.ceil(width / 2)
        return F.avg_pool2d(images, kernel, stride=(height // 2, width // 2))


def _with_norm(backbone: nn.Module, norm: Norm) -> nn.Module:
    if norm == "batch":
        return backbone
    if norm != "group":
        raise ValueError(f"norm is {norm!r}; it must be 'batch' or 'group'")
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                groups = math.gcd(child.num_features, 8)
                setattr(module, name, nn.GroupNorm(groups, child.num_features))
    return backbone


register_encoder("slim_resnet18", _resnet18)
register_encoder("resnet18", _resnet18)
register_encoder("small_cnn", _small_cnn)
