from __future__ import annotations

import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import transforms as per_image
from torchvision.transforms.v2 import functional as reference

from simo_cl.streams import AUGMENTATIONS, DataSet, Images
from simo_cl.streams.augmentation import evaluation_transform
from simo_cl.streams.batch_augmentation import BatchTransform, CropAndFlip, ResizedCrop
from simo_cl.streams.batch_color import ColorJitter, Grayscale, turn_hue

SCR = ["resized_crop", "flip", "color_jitter", "grayscale"]
LISTS = [[], *([name] for name in AUGMENTATIONS), ["crop", "flip"], SCR, list(AUGMENTATIONS)]
ADJUST = [
    reference.adjust_brightness,
    reference.adjust_contrast,
    reference.adjust_saturation,
    reference.adjust_hue,
]
ONE_BY_ONE = {
    "crop": per_image.RandomCrop(32, padding=4),
    "flip": per_image.RandomHorizontalFlip(),
    "resized_crop": per_image.RandomResizedCrop(32, scale=(0.2, 1.0), antialias=True),
    "color_jitter": per_image.RandomApply([per_image.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
    "grayscale": per_image.RandomGrayscale(p=0.2),
}
ONE_LEVEL = 1 + 1e-3
# torchvision rounds down the grey that it mixes in, by up to 0.4 of it, and then the result.
ROUNDED_TWICE = 1.4 + 1e-3


def random_images(count: int, channels: int = 3, size: int = 32) -> Tensor:
    """Among them constant images, and some of so few levels that channels often tie."""
    generator = torch.Generator().manual_seed(count)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    images[::4] = images[::4] // 128 * 255
    images[::16] = 255
    return images


def transform_of(names: list[str], channels: int = 3, size: int = 32) -> BatchTransform:
    return BatchTransform(
        names, size=size, mean=[0.5, 0.4, 0.3][:channels], std=[0.2, 0.3, 0.25][:channels]
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crop_and_flip(image: Tensor, padding: int, row: int, column: int, mirrored: int) -> Tensor:
    size = image.shape[-1]
    image = reference.pad(reference.hflip(image) if mirrored else image, [padding] * 4)
    return reference.crop(image, row, column, size, size)


def resized_crop(image: Tensor, first: Tensor, length: Tensor, mirrored: int) -> Tensor:
    box = [int(number) for number in (*first, *length)]
    image = reference.resized_crop(image, *box, list(image.shape[-2:]), antialias=True)
    return reference.hflip(image) if mirrored else image


def jittered(image: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    for operation in order.tolist():
        image = ADJUST[operation](image, factors[operation].item())
    return image


def levels_apart(images: Tensor, expected: list[Tensor]) -> float:
    return (images.float() - torch.stack(expected).float()).abs().max().item()


# --- pixel for pixel, given the parameters


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_without_augmentation_images_are_normalized_as_for_evaluation(
    tiny_data: DataSet, channels: int
) -> None:
    images = random_images(20, channels)
    labels = torch.arange(20) % 7
    data = DataSet("x", Images(images, labels), Images(images, labels), tuple("abcdefg"), "x")
    transform = BatchTransform([], size=32, mean=data.mean, std=data.std)
    expected = torch.stack([evaluation_transform(data)(image) for image in images])
    torch.testing.assert_close(transform(images), expected)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (2, 8), (3, 5)])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_crops_and_flips_are_torchvisions(
    channels: int, size: int, flips: bool, padded: bool
) -> None:
    images = random_images(200, channels, size)
    padding = size // 8 if padded else 0
    step = CropAndFlip(size, padding, flips)
    drawn = step.draw(200, seeded())
    expected = [
        crop_and_flip(image, padding, *place)
        for image, *place in zip(images, *(d.tolist() for d in drawn), strict=True)
    ]
    assert torch.equal(step.apply(images, *drawn), torch.stack(expected))


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (2, 8), (3, 5), (3, 1)])
@pytest.mark.parametrize("flips", [True, False])
def test_resized_crops_are_torchvisions(channels: int, size: int, flips: bool) -> None:
    images = random_images(100, channels, size)
    step = ResizedCrop(size, flips)
    firsts, lengths, mirrored = step.draw(100, seeded())
    parameters = list(zip(firsts.T, lengths.T, mirrored.tolist(), strict=True))
    result = step.apply(images, firsts, lengths, mirrored)
    as_floats = [resized_crop(i, *p) for i, p in zip(images.float(), parameters, strict=True)]
    as_levels = [resized_crop(i, *p) for i, p in zip(images, parameters, strict=True)]
    assert levels_apart(result, as_floats) < 2e-3
    assert levels_apart(result, as_levels) < ONE_LEVEL


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", range(4), ids=ColorJitter.operations)
def test_each_colour_operation_is_torchvisions(channels: int, operation: int) -> None:
    images = random_images(60, channels)
    step = ColorJitter(channels)
    drawn, order = step.draw(60, seeded())
    factors = step.neutral.expand(60, 4).clone()
    factors[:, operation] = drawn[:, operation]
    result = step.apply(images.float(), factors, order)
    strengths = factors[:, operation].tolist()
    adjust = ADJUST[operation]
    as_floats = [adjust(i / 255, s) * 255 for i, s in zip(images, strengths, strict=True)]
    as_levels = [adjust(i, s) for i, s in zip(images, strengths, strict=True)]
    assert levels_apart(result, as_floats) < 2e-3
    assert levels_apart(result, as_levels) < ROUNDED_TWICE


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_is_torchvisions_in_each_of_the_24_orders(channels: int) -> None:
    images = random_images(48, channels).float()
    step = ColorJitter(channels)
    factors, _ = step.draw(48, seeded())
    order = torch.tensor(list(itertools.permutations(range(4)))).repeat(2, 1)
    expected = [
        jittered(image / 255, f, o) * 255
        for image, f, o in zip(images, factors, order, strict=True)
    ]
    assert levels_apart(step.apply(images, factors, order), expected) < 5e-3


def test_the_hue_turns_by_any_angle_as_in_torchvision() -> None:
    images = random_images(60).float()
    sextants = torch.linspace(-3, 3, 60)[:, None]
    expected = [
        reference.adjust_hue(image / 255, angle.item() / 6) * 255
        for image, angle in zip(images, sextants, strict=True)
    ]
    result = turn_hue(images.flatten(2), sextants).view(images.shape)
    assert levels_apart(result, expected) < 5e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_are_torchvisions_and_the_others_stay(channels: int) -> None:
    images = random_images(60, channels)
    step = Grayscale(channels)
    (chosen,) = step.draw(60, seeded())
    result = step.apply(images.float(), chosen)
    grey = [reference.rgb_to_grayscale(i, channels) for i in images[chosen]]
    assert 0 < len(grey) < 60
    assert levels_apart(result[chosen], grey) < ONE_LEVEL
    assert torch.equal(result[~chosen], images[~chosen].float())


def test_images_that_are_not_jittered_keep_their_colours() -> None:
    images = random_images(40).float()
    step = ColorJitter(3)
    factors, order = step.draw(40, seeded())
    kept = (factors == step.neutral).all(1)
    assert 0 < kept.sum() < 40
    result = step.apply(images, factors, order)
    torch.testing.assert_close(result[kept], images[kept], rtol=0, atol=2e-3)


def test_the_transform_is_torchvisions_operations_in_the_order_given() -> None:
    images = random_images(60)
    names = ["grayscale", "resized_crop", "color_jitter", "flip", "crop"]
    transform = transform_of(names)
    result = transform(images, seeded(3))

    generator = seeded(3)
    grey, part, jitter, place = (step.draw(60, generator) for step in transform.steps)
    expected = []
    for n, image in enumerate(images.float()):
        if grey[0][n]:
            image = reference.rgb_to_grayscale(image, 3)
        image = resized_crop(image, part[0][:, n], part[1][:, n], int(part[2][n]))
        image = jittered(image / 255, jitter[0][n], jitter[1][n])
        image = crop_and_flip(image, 4, *(int(d[n]) for d in place))
        expected.append(reference.normalize(image, [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]))
    torch.testing.assert_close(result, torch.stack(expected), rtol=0, atol=1e-4)


# --- distributions of the parameters


def test_every_crop_is_equally_likely_and_half_are_mirrored() -> None:
    rows, columns, mirrored = CropAndFlip(32, 4, True).draw(20_000, seeded())
    counts = torch.bincount((rows * 9 + columns) * 2 + mirrored, minlength=162)
    assert len(counts) == 162
    assert chisquare(counts).pvalue > 0.01


def test_parts_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    image = torch.empty(3, 32, 32)
    expected = torch.tensor(
        [
            per_image.RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3])
            for _ in range(3000)
        ]
    ).T
    firsts, lengths, mirrored = ResizedCrop(32, True).draw(3000, seeded())
    ours = torch.cat((firsts, lengths))
    for mine, theirs in zip(ours, expected, strict=True):
        assert ks_2samp(mine, theirs).pvalue > 0.01
    for combine in (
        lambda top, left, height, width: height * width,
        lambda top, left, height, width: width / height,
        lambda top, left, height, width: top / (33 - height),
        lambda top, left, height, width: left / (33 - width),
        lambda top, left, height, width: top - left,
    ):
        assert ks_2samp(combine(*ours), combine(*expected)).pvalue > 0.01
    assert binomtest(int(mirrored.sum()), 3000).pvalue > 0.01


def test_a_part_never_leaves_the_image() -> None:
    for size in (1, 2, 3, 32):
        firsts, lengths, _ = ResizedCrop(size, False).draw(5000, seeded())
        assert firsts.min() == 0
        assert lengths.min() >= 1
        assert (firsts + lengths).max() == size


def test_jitter_is_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    arguments = ([0.6, 1.4], [0.6, 1.4], [0.6, 1.4], [-0.1, 0.1])
    expected = [per_image.ColorJitter.get_params(*arguments)[1:] for _ in range(3000)]
    step = ColorJitter(3)
    factors, order = step.draw(6000, seeded())
    applied = (factors != step.neutral).any(1)
    assert binomtest(int(applied.sum()), 6000, 0.8).pvalue > 0.01
    for mine, theirs in zip(factors[applied].T, zip(*expected, strict=True), strict=True):
        assert ks_2samp(mine, theirs).pvalue > 0.01
    assert np.abs(np.corrcoef(factors[applied].T) - np.eye(4)).max() < 0.05
    orders, counts = order.unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert chisquare(counts).pvalue > 0.01


def test_a_fifth_of_the_images_turns_grey() -> None:
    (chosen,) = Grayscale(3).draw(6000, seeded())
    assert binomtest(int(chosen.sum()), 6000, 0.2).pvalue > 0.01


@pytest.mark.parametrize("names", [["crop", "flip"], SCR], ids=str)
def test_results_are_distributed_as_torchvision_s_for_one_image(names: list[str]) -> None:
    torch.manual_seed(0)
    column = torch.arange(32.0)
    image = torch.stack((column * 6, column.flip(0) * 3 + 60, column * 2 + 90))[:, None]
    image = (image + 2 * column[:, None]).to(torch.uint8)
    images = image.expand(600, -1, -1, -1)
    data = DataSet(
        "x", Images(images[:1], torch.zeros(1).long()), Images(images[:1], torch.zeros(1).long()),
        ("a",), "x",
    )  # fmt: skip
    normalize = evaluation_transform(data)
    one_by_one = per_image.Compose([ONE_BY_ONE[name] for name in names])
    theirs = torch.stack([normalize(one_by_one(image)) for image in images])
    ours = BatchTransform(names, size=32, mean=data.mean, std=data.std)(images, seeded())
    for statistic in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
        lambda x: x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2)),
        lambda x: x[:, 1, 0, 0],
        lambda x: x[:, 0, 31, 16],
        lambda x: x[:, 2, :, :16].mean((1, 2)) - x[:, 2, :, 16:].mean((1, 2)),
    ):
        assert ks_2samp(statistic(ours), statistic(theirs)).pvalue > 0.01


# --- random numbers


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_an_image_does_not_depend_on_the_others_of_its_batch(names: list[str]) -> None:
    transform = transform_of(names)
    images = random_images(20)
    others = images.flip(0)
    others[7] = images[7]
    result = transform(images, seeded())[7]
    torch.testing.assert_close(transform(others, seeded())[7], result, rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [["crop", "flip"], SCR], ids=str)
def test_copies_of_an_image_are_augmented_differently(names: list[str]) -> None:
    images = random_images(2)[1:].expand(100, -1, -1, -1)
    results = transform_of(names)(images, seeded())
    # Of 162 crops and mirrored crops, 100 draws meet 75 on average.
    assert len(results.flatten(1).unique(dim=0)) > 60


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_one_seed_gives_one_result_and_leaves_other_generators_alone(names: list[str]) -> None:
    transform, images = transform_of(names), random_images(20)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    result = transform(images, seeded(1))
    assert torch.equal(transform(images, seeded(1)), result)
    assert names == [] or not torch.equal(transform(images, seeded(2)), result)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


def test_without_a_generator_torchs_own_is_used() -> None:
    transform, images = transform_of(list(AUGMENTATIONS)), random_images(20)
    torch.manual_seed(5)
    result = transform(images)
    torch.manual_seed(5)
    assert torch.equal(transform(images), result)
    assert torch.equal(transform(images, seeded(5)), result)


# --- types, devices, copies


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_results_are_new_contiguous_floats_whatever_the_images_layout(names: list[str]) -> None:
    transform, images = transform_of(names), random_images(20)
    result = transform(images, seeded())
    assert (result.dtype, result.shape) == (torch.float32, images.shape)
    assert result.is_contiguous()
    layouts = (
        images.to(memory_format=torch.channels_last),
        images.repeat_interleave(2, 0)[::2],
        images.transpose(2, 3).contiguous().transpose(2, 3),
    )
    for layout in layouts:
        before = layout.clone()
        torch.testing.assert_close(transform(layout, seeded()), result, rtol=0, atol=1e-4)
        assert torch.equal(layout, before)


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_a_single_image_and_grey_images_are_augmented(names: list[str]) -> None:
    assert transform_of(names, 1, 28)(random_images(20, 1, 28)).shape == (20, 1, 28, 28)
    assert transform_of(names)(random_images(1)).shape == (1, 3, 32, 32)


def test_autocast_changes_nothing() -> None:
    transform, images = transform_of(list(AUGMENTATIONS)), random_images(20)
    expected = transform(images, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(images, seeded()), expected)


def test_a_pickled_transform_gives_the_same_and_needs_no_device() -> None:
    transform, images = transform_of(list(AUGMENTATIONS)), random_images(20)
    transform(images.to("meta"))
    again = pickle.loads(pickle.dumps(transform))
    assert not any(constant.is_meta for constant in again._on_device)
    assert torch.equal(again(images, seeded()), transform(images, seeded()))


class RefuseCopiesToTheHost(TorchDispatchMode):
    """Fake tensors refuse to give their values; this refuses copies from their device too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.device.type == "cpu":
            for arg in args:
                if isinstance(arg, Tensor) and arg.device.type != "cpu":
                    raise AssertionError(f"{func} copies from {arg.device} to the host")
        return out


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_nothing_waits_for_the_device(names: list[str]) -> None:
    with FakeTensorMode(), RefuseCopiesToTheHost():
        images = torch.empty(20, 3, 32, 32, dtype=torch.uint8, device="cuda")
        result = transform_of(names)(images, torch.Generator())
        assert (result.device.type, result.dtype) == ("cuda", torch.float32)
        assert result.shape == images.shape
        with pytest.raises(AssertionError, match="to the host"):
            result.cpu()


@pytest.mark.parametrize("names", LISTS, ids=str)
def test_a_transform_works_on_one_device_after_another(names: list[str]) -> None:
    transform, images = transform_of(names), random_images(20)
    expected = transform(images, seeded())
    on_meta = transform(images.to("meta"), seeded())
    assert (on_meta.device.type, on_meta.shape) == ("meta", images.shape)
    assert torch.equal(transform(images, seeded()), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("names", LISTS, ids=str)
def test_a_gpu_gives_the_same_augmentation(names: list[str]) -> None:
    transform, images = transform_of(names), random_images(220)
    result = transform(images.cuda(), seeded())
    torch.testing.assert_close(result.cpu(), transform(images, seeded()), rtol=0, atol=1e-3)


# --- refused arguments


@pytest.mark.parametrize(
    ("names", "channels", "message"),
    [
        (["flipp"], 3, "Did you mean 'flip'"),
        (["crop", "crop"], 3, "twice"),
        (["crop", "color_jitter"], 2, r"'color_jitter' needs images of 1 .* or 3 .*have 2"),
        (["grayscale"], 2, r"'grayscale' needs images of 1 .* or 3 .*have 2"),
    ],
)
def test_bad_names_are_refused(names: list[str], channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transform_of(names, channels)


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.2, 0.2]), ([0.5, 0.5], [0.2, 0.0]), ([], [])])
def test_statistics_that_cannot_normalize_are_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ValueError, match=r"mean is .* and std .*: give one of each"):
        BatchTransform([], size=32, mean=mean, std=std)


@pytest.mark.parametrize(
    "images",
    [
        random_images(2).float(),
        random_images(2, 1),
        random_images(2, 3, 28),
        random_images(2)[0],
        random_images(2)[:0],
    ],
    ids=["float", "channels", "size", "one image", "none"],
)
def test_images_that_do_not_fit_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Images are .*;.* made for uint8 \(N, 3, 32, 32\)"):
        transform_of(["crop"])(images)
