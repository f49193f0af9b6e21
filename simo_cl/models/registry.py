"""Encoders by name, those of users included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from simo_cl.models.encoder import Encoder
from simo_cl.models.norm import Norm
from simo_cl.models.pooling import Pool
from simo_cl.models.precision import Precision
from simo_cl.registry import Lazy, Registry

EncoderBuilder = Callable[[int, int, Norm], tuple[nn.Module, int]]
"""(input channels, width, normalisation) to a backbone and its number of features."""

_BUILDERS: Registry[EncoderBuilder] = Registry(
    "an encoder",
    {
        "slim_resnet18": Lazy("simo_cl.models.resnet18", "resnet18"),
        "resnet18": Lazy("simo_cl.models.resnet18", "resnet18"),
        "small_cnn": Lazy("simo_cl.models.small_cnn", "small_cnn"),
        "airnet": Lazy("simo_cl.models.airnet", "airnet"),
        "airnet_half": Lazy("simo_cl.models.airnet", "airnet_half"),
    },
)


def register_encoder(name: str, build: EncoderBuilder, pool: Pool | None = None) -> None:
    """Makes an encoder of your own available to suites as ``model.encoder: name``.

    Args:
        name: must be new.
        build: takes (input channels, width, "batch" or "group") and gives a module that maps images
            (N, channels, H, W) to features (N, F), and F. Feature maps and tokens are averaged over
            their positions where F is the size of either the second or the last axis.
        pool: makes (N, F) of what the module gives, instead of that average.

    Example:
        >>> def one_layer(channels, width, norm):
        ...     return nn.Conv2d(channels, width, 3), width
        >>> register_encoder("one_layer", one_layer)
        >>> build_encoder("one_layer", width=16)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 16])
    """
    _BUILDERS.add(name, build if pool is None else partial(_build_pooled, build, pool))


def encoder_names() -> list[str]:
    """Names that :func:`build_encoder` knows.

    Example:
        >>> "airnet" in encoder_names()
        True
    """
    return sorted(_BUILDERS)


def build_encoder(
    name: str,
    *,
    channels: int = 3,
    width: int = 20,
    norm: Norm = "batch",
    precision: Precision = "float32",
    frozen: bool = False,
) -> Encoder:
    """Builds an encoder.

    Args:
        name: ``"slim_resnet18"`` (Lopez-Paz & Ranzato 2017, as in Avalanche; width 20),
            ``"resnet18"`` (the CIFAR ResNet-18 of He et al. 2016; width 64), ``"airnet"`` (after
            cifar10-airbench, Jordan 2024, five times as fast as the slim ResNet-18 on a CPU; width
            32; see :meth:`Encoder.fit_whitening`), ``"airnet_half"`` (on maps of half the height
            and width), ``"small_cnn"`` for 8 x 8 digits (width 32), or one that you registered.
        channels: of the images.
        width: channels of the first stage.
        norm: batch normalisation, or group normalisation with at most 8 groups.
        precision: ``"bfloat16"`` runs the backbone under autocast.
        frozen: see :class:`Encoder`.

    Raises:
        UnknownNameError: there is no encoder of that name.

    Example:
        >>> build_encoder("airnet", width=32)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 64])
    """
    backbone, num_features = _BUILDERS[name](channels, width, norm)
    return Encoder(backbone, num_features, precision, frozen=frozen)


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
