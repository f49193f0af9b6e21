from __future__ import annotations

import copy
import math

import pytest
import torch
from avalanche.models import SlimResNet18
from torch import Tensor, nn

from simo_cl.models import (
    UNSEEN_CLASS_SCORE,
    Classifier,
    EmbeddingModel,
    Encoder,
    build_encoder,
    encoder_names,
    projection_head,
    register_encoder,
    registry,
)

ENCODERS = ["slim_resnet18", "resnet18", "small_cnn"]


def small_encoder(**settings) -> Encoder:
    torch.manual_seed(0)
    return build_encoder("small_cnn", channels=1, width=2, **settings)


def image_batch(channels: int, channels_last: bool) -> Tensor:
    images = torch.randn(2, channels, 8, 8)
    return restrided(images, torch.channels_last) if channels_last else images


def restrided(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    return torch.empty_like(images, memory_format=memory_format).copy_(images)


def encoder_input(encoder: Encoder, images: Tensor) -> Tensor:
    """What the encoder gives its backbone, which is not run."""
    seen = []
    features = torch.zeros(len(images), encoder.num_features)
    encoder.backbone.forward = lambda x: seen.append(x) or features
    encoder(images)
    return seen[0]


def embedding_model(read_out: str = "features", head: nn.Module | None = None) -> EmbeddingModel:
    encoder = small_encoder()
    return EmbeddingModel(encoder, head or nn.Linear(encoder.num_features, 5), 7, read_out)


class TestEncoder:
    @pytest.mark.parametrize("name", ENCODERS)
    @pytest.mark.parametrize("norm", ["batch", "group"])
    @pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (1, 8), (2, 9)])
    def test_features_have_the_announced_shape(self, name, norm, channels, size):
        encoder = build_encoder(name, channels=channels, width=8, norm=norm)
        features = encoder(torch.randn(3, channels, size, size))
        assert features.shape == (3, encoder.num_features)
        assert encoder.num_features == 64
        assert features.isfinite().all()

    def test_slim_resnet18_computes_what_avalanches_does(self):
        torch.manual_seed(0)
        theirs, ours = SlimResNet18(10, nf=8), build_encoder("slim_resnet18", width=8)
        for own, other in zip(
            [*ours.backbone.parameters(), *ours.backbone.buffers()],
            [*list(theirs.parameters())[:-2], *theirs.buffers()],
            strict=True,
        ):
            own.data = other.data.clone()
        images = torch.randn(5, 3, 32, 32)
        for mode in (True, False):
            scores = theirs.linear(ours.train(mode)(images))
            torch.testing.assert_close(scores, theirs.train(mode)(images))

    def test_resnet18_has_the_published_size(self):
        encoder = build_encoder("resnet18", width=64)
        assert encoder.num_features == 512
        with_classifier = sum(p.numel() for p in Classifier(encoder, 10).parameters())
        assert with_classifier == 11_173_962

    @pytest.mark.parametrize("name", ENCODERS)
    def test_group_norm_replaces_all_batch_norm(self, name):
        torch.manual_seed(0)
        encoder = build_encoder(name, width=20, norm="group")
        kinds = [type(module) for module in encoder.modules()]
        assert nn.GroupNorm in kinds
        assert nn.BatchNorm2d not in kinds
        assert all(m.num_groups <= 8 for m in encoder.modules() if isinstance(m, nn.GroupNorm))
        images = torch.randn(4, 3, 32, 32)
        alone = torch.cat([encoder(image[None]) for image in images])
        torch.testing.assert_close(encoder(images), alone, atol=1e-4, rtol=1e-3)

    def test_bfloat16_runs_the_backbone_and_gives_float32(self):
        seen = []
        encoder = small_encoder(precision="bfloat16")
        for layer in (encoder.backbone[0], encoder.backbone[3]):
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        features = encoder(torch.randn(4, 1, 8, 8))
        assert seen == [torch.bfloat16] * 2
        assert features.dtype == torch.float32
        features.sum().backward()
        assert {p.grad.dtype for p in encoder.parameters()} == {torch.float32}
        exact = small_encoder()(torch.ones(4, 1, 8, 8))
        rounded = small_encoder(precision="bfloat16")(torch.ones(4, 1, 8, 8))
        torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0.1)

    def test_float32_stays_float32_under_somebody_elses_autocast(self):
        encoder = small_encoder()
        images = torch.randn(4, 1, 8, 8)
        with torch.autocast("cpu", torch.bfloat16):
            inside = encoder(images)
        assert torch.equal(inside, encoder(images))

    def test_runs_in_channels_last(self):
        """All but the weights and their gradients, which others flatten."""
        seen = []
        encoder = build_encoder("small_cnn", channels=3, width=8)
        for layer in encoder.backbone[:6]:
            layer.register_forward_hook(
                lambda module, inputs, output: seen.extend([*inputs, output])
            )
        encoder(torch.randn(2, 3, 8, 8)).sum().backward()
        assert len(seen) == 12
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
        assert all(p.is_contiguous() and p.grad.is_contiguous() for p in encoder.parameters())

    @pytest.mark.parametrize(
        ("width", "threads", "training", "expected"),
        [
            (20, 2, True, torch.contiguous_format),
            (20, 1, True, torch.channels_last),
            (20, 2, False, torch.channels_last),
            (16, 2, True, torch.channels_last),
        ],
    )
    def test_threads_do_not_share_the_cache_lines_of_channels(
        self, width, threads, training, expected
    ):
        seen = []
        encoder = build_encoder("small_cnn", width=width, precision="bfloat16").train(training)
        encoder.backbone[1].register_forward_hook(lambda _, inputs, output: seen.append(output))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            encoder(torch.randn(2, 3, 8, 8))
        finally:
            torch.set_num_threads(before)
        assert seen[0].is_contiguous(memory_format=expected)

    @pytest.mark.parametrize("name", ["slim_resnet18", "resnet18", "small_cnn"])
    @pytest.mark.parametrize("channels_last", [True, False])
    @pytest.mark.parametrize(
        ("width", "channels", "expected"),
        [
            (7, 3, torch.contiguous_format),
            (7, 1, torch.contiguous_format),
            (8, 3, torch.channels_last),
            (8, 1, torch.contiguous_format),
        ],
    )
    def test_narrow_convolutions_are_contiguous(
        self, name, channels_last, width, channels, expected
    ):
        """They are not run: where channels-last breaks them, it takes the process along."""
        encoder = build_encoder(name, channels=channels, width=width)
        given = encoder_input(encoder, image_batch(channels, channels_last))
        assert given.stride() == restrided(given, expected).stride()

    @pytest.mark.parametrize(
        ("convolutions", "expected"),
        [
            ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)], torch.channels_last),
            ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 7, 3)], torch.contiguous_format),
            ([nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 8, 3)], torch.contiguous_format),
            ([nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 3)], torch.contiguous_format),
            ([nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=2)], torch.channels_last),
            ([nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, groups=4)], torch.contiguous_format),
            ([nn.Flatten()], torch.channels_last),
        ],
    )
    def test_narrow_convolutions_of_ones_own_are_contiguous(self, convolutions, expected):
        encoder = Encoder(nn.Sequential(*convolutions), 1, "float32")
        given = encoder_input(encoder, image_batch(3, channels_last=False))
        assert given.is_contiguous(memory_format=expected)
        on_another_device = torch.zeros(2, 3, 8, 8, device="meta")
        assert encoder._memory_format(on_another_device) == torch.channels_last

    def test_counts_the_images_of_training_passes(self):
        encoder = small_encoder()
        for _ in range(2):
            encoder(torch.zeros(3, 1, 8, 8))
        encoder.eval()
        encoder(torch.zeros(5, 1, 8, 8))
        assert encoder.images_forwarded == 6

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_runs_without_a_device(self, precision):
        encoder = small_encoder(precision=precision).to("meta")
        features = encoder(torch.zeros(4, 1, 8, 8, device="meta"))
        features.sum().backward()
        assert features.shape == (4, 16)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"name": "small_cn"},
                r"'small_cn' is not an encoder; .*resnet18.*Did you mean 'small_cnn'\?",
            ),
            ({"name": "qqq"}, r"'qqq' is not an encoder; there are [^?]*$"),
            ({"norm": "layer"}, "norm is 'layer'; it must be 'batch' or 'group'"),
            ({"precision": "float16"}, "precision is 'float16'; it must be 'float32' or"),
        ],
    )
    def test_refuses(self, settings, message):
        with pytest.raises(ValueError, match=message):
            build_encoder(**{"name": "small_cnn", **settings})


def test_an_encoder_of_ones_own(monkeypatch):
    monkeypatch.setattr(registry._BUILDERS, "_parts", {})

    def build(channels: int, width: int, norm: str) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Conv2d(channels, width, 8), nn.Flatten()), width

    register_encoder("mine", build)
    assert encoder_names() == ["mine"]
    encoder = build_encoder("mine", channels=1, width=6)
    assert encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 6)
    with pytest.raises(ValueError, match="an encoder 'mine' already"):
        register_encoder("mine", build)


def test_the_classifier_scores_all_classes():
    encoder = small_encoder()
    model = Classifier(encoder, 7).eval()
    images = torch.randn(3, 1, 8, 8)
    scores = model(images)
    assert scores.shape == (3, 7)
    torch.testing.assert_close(scores, model.classifier(encoder(images)))


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (7, 12), (3, 2), (1, 1)])
def test_the_small_cnn_averages_the_quarters_of_its_feature_maps(size):
    encoder = build_encoder("small_cnn", channels=1, width=4)
    *layers, pool, flatten = encoder.backbone
    maps = torch.nn.Sequential(*layers)(torch.randn(2, 1, *size)).detach().requires_grad_()
    again = maps.detach().clone().requires_grad_()
    expected = torch.nn.AdaptiveAvgPool2d(2)(again)
    torch.testing.assert_close(pool(maps), expected)
    pool(maps).square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(maps.grad, again.grad)
    assert flatten(pool(maps)).shape == (2, encoder.num_features)


class TestProjectionHead:
    @pytest.mark.parametrize(
        ("kind", "width", "parameters"),
        [("none", 16, 0), ("linear", 5, 16 * 5 + 5), ("mlp", 5, 16 * 16 + 16 + 16 * 5 + 5)],
    )
    def test_shapes_and_sizes(self, kind, width, parameters):
        head = projection_head(kind, 16, 5)
        assert head(torch.randn(3, 16)).shape == (3, width)
        assert sum(p.numel() for p in head.parameters()) == parameters

    def test_leaves_the_features_as_they_are(self):
        features = torch.randn(3, 16)
        before = features.clone()
        for kind in ("none", "linear", "mlp"):
            projection_head(kind, 16, 5)(features)
        assert torch.equal(features, before)

    def test_refuses(self):
        with pytest.raises(ValueError, match="head is 'conv'; it must be 'none', 'linear' or"):
            projection_head("conv", 16, 5)


class TestEmbeddingModel:
    def test_embeds_while_it_trains_and_classifies_when_evaluated(self):
        model = embedding_model()
        images = torch.randn(3, 1, 8, 8)
        assert model(images).shape == (3, 5)
        torch.testing.assert_close(model(images), model.head(model.encoder(images)))
        assert model.eval()(images).shape == (3, 7)

    @pytest.mark.parametrize("read_out", ["features", "embedding"])
    def test_scores_are_squared_distances_to_class_means(self, read_out):
        model = embedding_model(read_out).eval()
        images, labels = torch.randn(12, 1, 8, 8), torch.tensor([0, 3, 6, 3] * 3)
        others = torch.randn(4, 1, 8, 8)

        def points(x: Tensor) -> list[list[float]]:
            space = model.encoder(x) if read_out == "features" else model.head(model.encoder(x))
            return space.double().tolist()

        with torch.no_grad():
            stored, asked = points(images), points(others)
            model.set_class_means(torch.tensor(stored), labels)
            scores = model(others)
        expected = slow_scores(stored, labels.tolist(), asked, num_classes=7)
        torch.testing.assert_close(scores, torch.tensor(expected))
        assert model.has_mean.tolist() == [True, False, False, True, False, False, True]
        assert set(scores.argmax(dim=1).tolist()) <= {0, 3, 6}

    def test_a_class_without_a_mean_never_wins_and_stays_finite(self):
        model = embedding_model().eval()
        # The mean opposite to every point has the lowest score a real class can have.
        point = torch.zeros(1, 16).index_fill(1, torch.tensor([0]), 1.0)
        model.set_class_means(-point, torch.tensor([2]))
        scores = model._scores(point)
        assert scores[0, 2] == -4
        assert scores.argmax() == 2
        assert (scores[0, [0, 1, 3, 4, 5, 6]] == UNSEEN_CLASS_SCORE).all()
        assert nn.functional.cross_entropy(scores, torch.tensor([0])).isfinite()

    def test_means_are_replaced_and_not_blended(self):
        model = embedding_model()
        first, second = torch.randn(6, 16), torch.randn(4, 16)
        model.set_class_means(first, torch.tensor([0, 0, 1, 1, 2, 2]))
        model.set_class_means(second, torch.tensor([1, 1, 5, 5]))
        assert model.has_mean.nonzero().flatten().tolist() == [1, 5]
        torch.testing.assert_close(
            model.class_means[1], nn.functional.normalize(second[:2], dim=1).mean(dim=0)
        )
        assert not model.class_means[0].any()

    def test_only_directions_of_the_given_points_count(self):
        points, labels = torch.randn(6, 16), torch.tensor([0, 0, 1, 1, 2, 2])
        models = [embedding_model() for _ in range(2)]
        models[0].set_class_means(points, labels)
        models[1].set_class_means(points * torch.rand(6, 1).add(0.5), labels)
        torch.testing.assert_close(models[0].class_means, models[1].class_means)

    def test_means_travel_with_the_weights(self):
        model = embedding_model()
        model.set_class_means(torch.randn(4, 16), torch.tensor([0, 0, 3, 3]))
        other = embedding_model()
        other.load_state_dict(copy.deepcopy(model.state_dict()))
        images = torch.randn(3, 1, 8, 8)
        assert torch.equal(other.eval()(images), model.eval()(images))

    def test_leaves_the_statistics_of_a_given_head_alone(self):
        head = nn.Sequential(nn.Linear(16, 5), nn.BatchNorm1d(5))
        before = copy.deepcopy(head.state_dict())
        model = embedding_model("embedding", head)
        assert model.class_means.shape == (7, 5)
        assert head.training
        for name, value in head.state_dict().items():
            assert torch.equal(value, before[name])

    def test_runs_without_a_device(self):
        model = embedding_model("embedding", nn.Linear(16, 5, device="meta")).to("meta")
        images = torch.zeros(4, 1, 8, 8, device="meta")
        model(images).sum().backward()
        model.eval().set_class_means(model.head(model.encoder(images)), torch.tensor([0, 1, 2, 2]))
        assert model(images).shape == (4, 7)

    def test_refuses_an_unknown_read_out(self):
        with pytest.raises(ValueError, match="read_out is 'head'; it must be 'features' or"):
            embedding_model("head")


def slow_scores(
    stored: list[list[float]], labels: list[int], asked: list[list[float]], num_classes: int
) -> list[list[float]]:
    def unit(point: list[float]) -> list[float]:
        norm = math.sqrt(sum(x * x for x in point))
        return [x / norm for x in point]

    scores = []
    for point in asked:
        row = []
        for c in range(num_classes):
            members = [unit(p) for p, y in zip(stored, labels, strict=True) if y == c]
            if not members:
                row.append(UNSEEN_CLASS_SCORE)
                continue
            mean = [sum(x) / len(members) for x in zip(*members, strict=True)]
            row.append(-sum((a - b) ** 2 for a, b in zip(unit(point), mean, strict=True)))
        scores.append(row)
    return scores
