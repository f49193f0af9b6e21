"""Which axes are averaged, for all that take features from layers and encoders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchvision.models import ConvNeXt, ResNet, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import BasicBlock

from simo_cl.harness.embed import embed
from simo_cl.losses import SimOLoss
from simo_cl.metrics.plugins import orthogonality_metrics
from simo_cl.models import build_encoder, register_encoder
from simo_cl.models.feature_hook import FeatureHook
from simo_cl.training import SimOPlugin

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def swin() -> nn.Module:
    return SwinTransformer(
        [2, 2], embed_dim=24, depths=[1, 1], num_heads=[3, 3], window_size=[4, 4]
    )


def convnext() -> nn.Module:
    return ConvNeXt([CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)])


def resnet() -> nn.Module:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)


def vit() -> nn.Module:
    return VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)


class Dense(nn.Module):
    """Puts its input in front of what it adds, so that its width is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], dim=1)


class Moved(nn.Module):
    """(N, C, H, W) to (N, H, W, C), by a function that is no layer."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Tokens(nn.Module):
    """(N, C, H, W) to (N, H W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


def convolutions(*more: nn.Module, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 4, stride=4), *more)


def captured(model: nn.Module, layer: str, **options: Callable[[Tensor], Tensor]) -> Tensor:
    torch.manual_seed(0)
    hook = FeatureHook(layer, **options)
    hook.attach(model)
    with torch.no_grad():
        model(IMAGES)
    hook.detach()
    return hook.take(model, len(IMAGES))


def output_of(model: nn.Module, layer: str) -> Tensor:
    """The layer's output in its first run, before others work on it in place."""
    outputs: list[Tensor] = []
    module = model.get_submodule(layer)
    handle = module.register_forward_hook(lambda m, i, output: outputs.append(output.clone()))
    with torch.no_grad():
        model(IMAGES)
    handle.remove()
    return outputs[0]


@pytest.mark.parametrize(
    ("make", "layers", "positions"),
    [
        (resnet, "conv1 bn1 relu maxpool layer1 layer2.0.downsample layer4 avgpool", (2, 3)),
        (swin, "features.0 features.1.0 features.2 features.2.norm features norm", (1, 2)),
        (swin, "features.0.0 permute avgpool", (2, 3)),
        (
            convnext,
            "features.0 features.1.0.block features.1.0 features.2 features avgpool",
            (2, 3),
        ),
        (convnext, "features.1.0.block.2 features.1.0.block.4", (1, 2)),
        (vit, "encoder.layers.encoder_layer_0 encoder.layers encoder.ln encoder", (1,)),
        (vit, "conv_proj", (2, 3)),
        (lambda: convolutions(Dense()), "1", (2, 3)),
        (lambda: convolutions(nn.Sequential(nn.Upsample(scale_factor=2))), "1", (2, 3)),
        (lambda: convolutions(nn.Flatten(2)), "1", (2,)),
        (lambda: convolutions(Moved(), width=16), "1", (1, 2)),
        (lambda: convolutions(Tokens()), "1", (1,)),
        (lambda: convolutions(nn.ReLU()), "1", (2, 3)),  # 8 channels of 8 x 8
        (lambda: convolutions(Tokens(), nn.Linear(8, 8), nn.GELU()), "3", (1,)),
        (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 8, 4), nn.ReLU()), "2", (2,)),
        (
            lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 8, 3), nn.ReLU()),
            "2",
            (2, 3, 4),
        ),
    ],
)
def test_averages_over_the_positions_and_nothing_else(make, layers, positions):
    model = make().eval()
    for layer in layers.split():
        output = output_of(model, layer)
        expected = output.mean(dim=positions)
        torch.testing.assert_close(captured(model, layer), expected, msg=layer)


@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (vit, "encoder.dropout", r"\(3, 17, 16\)"),  # a token more than there were positions
        (lambda: nn.Sequential(Moved(), nn.Conv2d(32, 8, 1)), "0", r"\(3, 32, 32, 3\)"),
        (lambda: convolutions(nn.PixelShuffle(2)), "1", r"\(3, 2, 16, 16\)"),
        # 8 channels of 8 x 8 after layers of both kinds: it could be either.
        (lambda: convolutions(Moved(), nn.LayerNorm(8), Moved()), "3", r"\(3, 8, 8, 8\)"),
        (lambda: nn.Sequential(nn.Conv2d(3, 1, 32), nn.Flatten(0)), "1", r"\(3,\)"),
    ],
)
def test_refuses_an_unknown_layout_with_its_shape(make, layer, shape):
    model = make().eval()
    with pytest.raises(ValueError, match=rf"layer '{layer}' gives {shape}, and which axis.*pool="):
        captured(model, layer)
    assert not any(m._forward_hooks for m in model.modules())
    if "," in shape[:-3]:
        pooled = captured(model, layer, pool=lambda x: x.flatten(1))
        torch.testing.assert_close(pooled, output_of(model, layer).flatten(1))


def test_a_pool_has_to_make_vectors():
    with pytest.raises(
        ValueError, match=r"'0' gives \(3, 8, 8, 8\), of which pool made \(3, 8, 8\)"
    ):
        captured(convolutions(), "0", pool=lambda x: x.mean(dim=1))


def test_the_memory_format_does_not_matter():
    model = resnet().eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        output = model.layer1(
            torch.randn(3, 64, 8, 8).contiguous(memory_format=torch.channels_last)
        )
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        captured(model, "layer1"), output_of(model, "layer1").mean(dim=(2, 3))
    )


def test_a_vector_is_taken_before_a_layer_works_on_it_in_place():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4), nn.ReLU(inplace=True))
    features = captured(model, "1")
    assert (features < 0).any()
    torch.testing.assert_close(features, output_of(model, "1"))


def test_the_input_of_the_last_linear_has_its_channels_last():
    model = convolutions(Tokens(), nn.Linear(8, 5))
    hook = FeatureHook()
    hook.attach(model)
    model(IMAGES)
    torch.testing.assert_close(hook.features, output_of(model, "1").mean(dim=1))


class TestEncoders:
    @pytest.mark.parametrize(
        ("backbone", "positions"),
        [
            (lambda: convolutions(width=16), (2, 3)),
            (lambda: convolutions(Moved(), width=16), (1, 2)),
            (lambda: convolutions(Tokens(), width=16), (1,)),
        ],
    )
    def test_average_where_the_number_of_features_tells_the_axis(self, backbone, positions):
        register_encoder("ours", lambda channels, width, norm: (backbone(), width))
        encoder = build_encoder("ours", width=16)
        expected = encoder.backbone(IMAGES).mean(dim=positions)
        torch.testing.assert_close(encoder(IMAGES), expected)

    @pytest.mark.parametrize(("width", "stated"), [(8, 8), (16, 10)])
    def test_refuse_the_rest_and_take_a_function(self, width, stated):
        def build(channels: int, _: int, norm: str) -> tuple[nn.Module, int]:
            return convolutions(width=width), stated

        register_encoder("ours", build)
        message = rf"gives \(3, {width}, 8, 8\).* its {stated} features; register it with pool="
        with pytest.raises(ValueError, match=message):
            build_encoder("ours")(IMAGES)

    def test_take_a_function(self):
        register_encoder(
            "ours", lambda *_: (convolutions(), 8), pool=lambda maps: maps.amax(dim=(2, 3))
        )
        encoder = build_encoder("ours")
        expected = encoder.backbone[0](IMAGES).amax(dim=(2, 3))
        torch.testing.assert_close(encoder(IMAGES), expected)


class Swin(nn.Module):
    """Channels last from its encoder on, and averaged for its classifier alone."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 12, 2), Moved(), nn.LayerNorm(12), nn.GELU())
        self.classifier = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.encoder(x).amax(dim=(1, 2)))


class TestPlugins:
    @pytest.fixture
    def data(self):
        torch.manual_seed(0)
        images, labels = torch.randn(12, 1, 6, 6), torch.arange(12) % 2
        data = TensorDataset(images, labels)
        data.targets = labels.tolist()
        data = as_classification_dataset(data)
        return benchmark_from_datasets(train=[data], test=[data])

    def strategy(self, model: nn.Module, *metrics, plugins=()):
        return Naive(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=12,
            eval_mb_size=12,
            evaluator=EvaluationPlugin(*metrics, loggers=[]),
            plugins=list(plugins),
        )

    @pytest.mark.parametrize("pool", [None, lambda maps: maps.amax(dim=(1, 2))])
    def test_the_metrics(self, data, pool):
        from simo_cl.metrics.geometry import geometry_metrics

        model = Swin()
        strategy = self.strategy(model, orthogonality_metrics(layer="encoder", pool=pool))
        strategy.train(data.train_stream)
        last = strategy.eval(data.test_stream)
        images, labels = (torch.stack(list(part)) for part in zip(*self.rows(data), strict=True))
        with torch.no_grad():
            maps = model.encoder(images)
        points = maps.mean(dim=(1, 2)) if pool is None else pool(maps)
        expected = geometry_metrics(points, labels)
        measured = {name: last[f"features/{name}"] for name in expected}
        assert measured == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize("pool", [None, lambda maps: maps.amax(dim=(1, 2))])
    def test_the_loss(self, data, pool):
        seen = []

        class Loss(SimOLoss):
            def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
                seen.append((embeddings.detach().clone(), labels))
                return super().forward(embeddings, labels)

        model = Swin()
        plugin = SimOPlugin(layer="encoder", loss=Loss(), pool=pool)
        self.strategy(model, plugins=[plugin]).train(data.train_stream)
        ((points, labels),) = seen
        images = torch.stack([image for image, _ in self.rows(data)])
        with torch.no_grad():
            maps = model.encoder(images)
        expected = maps.mean(dim=(1, 2)) if pool is None else pool(maps)
        assert labels.tolist() != sorted(labels.tolist())
        torch.testing.assert_close(sorted(points.tolist()), sorted(expected.tolist()))

    def test_the_evaluation_of_suites(self, data):
        model = Swin()
        (experience,) = data.test_stream
        found = embed(model, experience.dataset, {"features": "encoder"}, 5, torch.device("cpu"))
        images = torch.stack([image for image, _ in self.rows(data)])
        with torch.no_grad():
            expected = model.encoder(images).mean(dim=(1, 2))
        torch.testing.assert_close(found.spaces["features"], expected)

    def rows(self, data) -> list[tuple[Tensor, Tensor]]:
        (experience,) = data.test_stream
        return [(image, torch.tensor(int(label))) for image, label, *_ in experience.dataset]
