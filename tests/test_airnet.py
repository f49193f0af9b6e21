from __future__ import annotations

import pytest
import torch
from torch import nn

from simo_cl.models import build_encoder


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        *(("airnet", c, n) for c, n in ((3, 32), (1, 28), (3, 29), (4, 64), (1, 9), (3, 15))),
        *(("airnet_half", c, n) for c, n in ((3, 32), (1, 28), (2, 29), (4, 64), (1, 16))),
    ],
)
def test_takes_any_channels_and_any_size_from_the_smallest(name, norm, channels, size):
    encoder = build_encoder(name, channels=channels, width=8, norm=norm)
    features = encoder(torch.randn(3, channels, size, size))
    assert features.shape == (3, encoder.num_features) == (3, 16)
    features.sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "least", "height", "width"),
    [("airnet", 9, 8, 8), ("airnet", 9, 32, 8), ("airnet", 9, 2, 2), ("airnet_half", 16, 15, 15)],
)
def test_refuses_images_that_cannot_be_halved_three_times(name, least, height, width):
    encoder = build_encoder(name, width=8)
    message = rf"at least {least} x {least} pixels; these have {height} x {width} \(small_cnn takes"
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(2, 3, height, width))


def test_has_a_third_of_the_slim_resnet18s_multiplications():
    slim, ours = (
        multiplications(build_encoder(name, width=width))
        for name, width in (("slim_resnet18", 20), ("airnet", 32))
    )
    assert slim == pytest.approx(54.6e6, rel=1e-3)
    assert ours == pytest.approx(16.8e6, rel=1e-3)


@pytest.mark.parametrize(("width", "channels"), [(32, [24, 32, 64, 64]), (12, [24, 12, 24, 24])])
def test_the_width_is_that_of_the_first_block(width, channels):
    encoder = build_encoder("airnet", width=width)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [c.in_channels for c in convolutions[::2]] == channels[:3]
    assert [c.out_channels for c in convolutions[1::2]] == channels[1:]
    assert encoder.num_features == channels[-1]


def test_the_encoder_passes_images_on_to_the_whitening_layer():
    torch.manual_seed(0)
    encoder = build_encoder("airnet", width=8)
    images = torch.randn(20, 3, 9, 9) * torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    encoder.fit_whitening(images.split(10))
    outputs = encoder.backbone.whitening(images)
    torch.testing.assert_close(
        outputs.square().mean(dim=(0, 2, 3)), torch.ones(24), atol=1e-2, rtol=0
    )


def test_an_encoder_without_a_whitening_layer_reads_no_images():
    read = []
    build_encoder("small_cnn", width=8).fit_whitening(read.append(i) for i in range(3))
    assert read == []


def multiplications(encoder: nn.Module) -> int:
    """Of the trained convolutions, for an image of 32 x 32 pixels."""
    count = 0

    def add(layer: nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        nonlocal count
        count += layer.weight.numel() * output.shape[2] * output.shape[3]

    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    encoder.eval()(torch.zeros(1, 3, 32, 32))
    return count
