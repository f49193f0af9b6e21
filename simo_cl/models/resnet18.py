"""ResNet-18 for small images."""

from __future__ import annotations

from torch import nn

from simo_cl.models.norm import Norm, with_norm


def resnet18(channels: int, width: int, norm: Norm) -> tuple[nn.Module, int]:
    """Stages of `width`, 2, 4 and 8 times as many channels (He et al. 2016)."""
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
    return with_norm(backbone, norm), 8 * width
