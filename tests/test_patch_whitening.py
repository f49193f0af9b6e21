from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simo_cl.models import PatchWhitening, patch_whitening

EPSILON = 1e-2


def smooth_images(channels: int, count: int = 40, size: int = 9) -> Tensor:
    """Images whose neighbouring pixels and channels resemble each other, as those of nature do."""
    generator = torch.Generator().manual_seed(channels)
    noise = torch.randn(count, channels + 1, size + 3, size + 3, generator=generator)
    mixed = noise[:, :1] + noise[:, 1:]
    return torch.nn.functional.avg_pool2d(mixed, 4, stride=1)


def fitted(*batches: Tensor, epsilon: float = EPSILON) -> PatchWhitening:
    layer = PatchWhitening(batches[0].shape[1], epsilon)
    layer.fit(batches)
    return layer


def slow_moments(images: Tensor) -> Tensor:
    """Mean outer product of all 2 x 2 patches, one at a time."""
    rows = []
    for image in images.double():
        for top in range(image.shape[1] - 1):
            for left in range(image.shape[2] - 1):
                patch = image[:, top : top + 2, left : left + 2]
                rows.append([x for channel in patch.tolist() for line in channel for x in line])
    size = len(rows[0])
    sums = [[sum(r[i] * r[j] for r in rows) for j in range(size)] for i in range(size)]
    return torch.tensor(sums, dtype=torch.float64) / len(rows)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_filters_are_eigenvectors_over_the_root_of_their_eigenvalue(channels):
    images = smooth_images(channels)
    moments = slow_moments(images)
    filters = fitted(images).filters.flatten(1).double()
    assert len(filters) == 8 * channels
    values = []
    for row in filters[: 4 * channels]:
        vector = row / row.norm()
        value = float(vector @ moments @ vector)
        values.append(value)
        torch.testing.assert_close(moments @ vector, value * vector, atol=1e-6, rtol=1e-4)
        assert float(row.norm()) == pytest.approx(1 / math.sqrt(value + EPSILON), rel=1e-5)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_are_white_and_come_with_both_signs(channels):
    images = smooth_images(channels)
    outputs = fitted(images, epsilon=1e-9)(images)
    assert outputs.shape == (40, 8 * channels, 8, 8)
    half = 4 * channels
    assert torch.equal(outputs[:, :half], -outputs[:, half:])
    columns = outputs[:, :half].transpose(0, 1).flatten(1).double()
    moments = columns @ columns.T / columns.shape[1]
    torch.testing.assert_close(moments, torch.eye(half).double(), atol=1e-3, rtol=0)


def test_large_images_are_read_a_few_at_a_time(monkeypatch):
    images = smooth_images(3)
    whole = fitted(images).filters
    sizes = []
    unfold = patch_whitening.F.unfold
    monkeypatch.setattr(patch_whitening, "_NUMBERS_AT_ONCE", 16 * images[0].numel() + 1)
    monkeypatch.setattr(
        patch_whitening.F, "unfold", lambda part, k: sizes.append(len(part)) or unfold(part, k)
    )
    torch.testing.assert_close(fitted(images).filters, whole, atol=1e-5, rtol=1e-5)
    assert sizes == [16, 16, 8]


def test_images_without_a_patch_are_refused():
    with pytest.raises(ValueError, match="patches of 2 x 2, got 1 x 5 images"):
        fitted(torch.zeros(4, 3, 1, 5))


def test_batches_and_the_order_of_images_do_not_matter():
    images = smooth_images(3)
    whole = fitted(images).filters
    in_parts = fitted(*images.flip(0).split(7)).filters
    torch.testing.assert_close(in_parts, whole, atol=1e-5, rtol=1e-5)


def test_the_sign_of_an_eigenvector_does_not_matter(monkeypatch):
    images = smooth_images(3)
    whole = fitted(images).filters
    eigh = torch.linalg.eigh

    def of_another_machine(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = eigh(matrix)
        return values, vectors * torch.tensor([-1.0, 1.0] * 6)

    monkeypatch.setattr(torch.linalg, "eigh", of_another_machine)
    assert torch.equal(fitted(images).filters, whole)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 3, 4, 4),
        torch.full((3, 3, 4, 4), 2.5),
        smooth_images(1).expand(-1, 3, -1, -1),
        smooth_images(3, count=1, size=2),
    ],
    ids=["black", "constant", "grey as colour", "one patch"],
)
def test_what_does_not_vary_stays_bounded(images):
    layer = fitted(images)
    assert layer.filters.isfinite().all()
    assert layer.filters.flatten(1).norm(dim=1).max() <= 1 / math.sqrt(EPSILON) * (1 + 1e-6)
    assert layer(images).square().mean(dim=(0, 2, 3)).max() <= 1 + 1e-4


def test_a_stride_leaves_out_patches():
    images = smooth_images(3)
    every, some = PatchWhitening(3), PatchWhitening(3, stride=2)
    every.fit([images])
    some.fit([images])
    assert torch.equal(some.filters, every.filters)
    assert torch.equal(some(images), every(images)[:, :, ::2, ::2])


def test_before_it_is_fitted_a_filter_is_a_pixel():
    images = smooth_images(2)
    outputs = PatchWhitening(2)(images)
    assert torch.equal(outputs[:, 1], images[:, 0, :-1, 1:])
    assert torch.equal(outputs[:, 8 + 6], -images[:, 1, 1:, :-1])


def test_the_filters_are_saved_and_not_trained():
    layer = fitted(smooth_images(3))
    assert not list(layer.parameters())
    other = PatchWhitening(3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.filters, layer.filters)


def test_computes_in_float32_under_autocast():
    images = smooth_images(3)
    layer = fitted(images)
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(images)
    assert torch.equal(inside, layer(images))


@pytest.mark.parametrize("batches", [[], [torch.zeros(0, 3, 9, 9)]], ids=["none", "empty"])
def test_refuses_to_be_fitted_to_nothing(batches):
    with pytest.raises(ValueError, match="needs at least one image"):
        PatchWhitening(3).fit(batches)
