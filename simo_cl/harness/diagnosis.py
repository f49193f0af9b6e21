"""What a machine has, how fast it trains an encoder, and what is in the way."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
import torch
from joblib import cpu_count
from packaging.requirements import Requirement

import simo_cl
from simo_cl.harness.precision import has_bfloat16
from simo_cl.harness.settings import ModelSettings
from simo_cl.models import Precision, build_encoder
from simo_cl.wording import count

_SECONDS_A_CELL = 0.25
_BUSY = 20.0  # percent of all cores: of two, nearly half of one
_MOST_IMAGES, _MOST_IMAGES_EMULATED = 32, 8
_LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Speed:
    """Of training an encoder: forward and backward.

    Attributes:
        layout: of images in memory; the encoder chooses it by itself in a run.
        images: a second.
    """

    precision: Precision
    layout: str
    threads: int
    images: float


def measure(
    model: ModelSettings,
    shape: tuple[int, int, int],
    batch_size: int,
    threads: Sequence[int],
    device: torch.device,
) -> Iterator[Speed]:
    """Trains the encoder for a quarter of a second in each way.

    A precision that the device emulates is measured with fewer images and two numbers of threads.

    Args:
        model: the encoder's settings.
        shape: channels, height and width of the images.
        batch_size: of the suite; at most 32 images are taken.
        threads: numbers of CPU threads.
        device: to train on.
    """
    for precision in _PRECISIONS:
        slow = precision == "bfloat16" and not has_bfloat16(device)
        most = _MOST_IMAGES_EMULATED if slow else _MOST_IMAGES
        images = torch.rand(min(batch_size, most), *shape, device=device)
        for layout in _LAYOUTS:
            for number in threads[:2] if slow else threads:
                speed = _images_a_second(model, images, precision, layout, number)
                yield Speed(precision, layout, number, speed)


def thread_numbers(cores: int) -> list[int]:
    """Numbers of threads worth a look: powers of two, and all cores."""
    return sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})


def usable_cores() -> int:
    """The processor cores that this process may use, of those that the machine has."""
    return int(cpu_count())


def recommend(speeds: Sequence[Speed], cores: int, device: torch.device) -> tuple[Speed, int]:
    """The fastest way to train several runs on a machine, as :func:`measure` gave it, and how many
    at once, if they do not slow each other down; on a GPU, one."""

    def jobs(speed: Speed) -> int:
        return max(1, cores // speed.threads) if device.type == "cpu" else 1

    best = max(speeds, key=lambda speed: speed.images * jobs(speed))
    return best, jobs(best)


def wrong_versions() -> list[str]:
    """What is installed and is not in the range that simo-cl supports."""
    try:
        lines = requires("simo-cl") or []
    except PackageNotFoundError:
        source = Path(simo_cl.__file__).parent.parent
        return [
            f"simo-cl is imported from {source} and not installed: which versions it supports is "
            f"not known here. {shlex.join(['pip', 'install', '-e', str(source)])}"
        ]
    wrong = []
    for line in lines:
        required = Requirement(line)
        if required.marker is not None and not required.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(required.name)
        except PackageNotFoundError:
            wrong.append(f"{required.name} is not installed; simo-cl needs {line}")
            continue
        if not required.specifier.contains(installed, prereleases=True):
            wrong.append(
                f"{required.name} {installed} is installed; simo-cl supports "
                f"{required.name}{required.specifier}. pip install "
                f'"{required.name}{required.specifier}"'
            )
    return wrong


def busyness() -> str | None:
    """What to know before measuring beside other processes."""
    busy = psutil.cpu_percent(interval=_SECONDS_A_CELL)
    if busy < _BUSY:
        return None
    return (
        f"other processes keep this machine {busy:.0f} % busy: what is measured now is slower than "
        "it is on an idle one, and not equally so for all"
    )


def core_problems(threads: int) -> list[str]:
    """What keeps runs of so many threads from the machine's cores."""
    cores, usable = os.cpu_count() or 1, usable_cores()
    problems = []
    if usable == 1 < cores:
        problems.append(
            f"this process is pinned to one of {cores} cores, and so would be all runs: look for "
            "taskset, a batch system's reservation or a container's limit"
        )
    return [*problems, *filter(None, [too_many_threads(threads)])]


def too_many_threads(threads: int, at_once: int = 1) -> str | None:
    """What is slow about so many runs at once, with so many threads each, if anything is."""
    cores = usable_cores()
    if at_once * threads <= cores:
        return None
    fewer = [] if threads == 1 else [f"--set training.threads={max(1, cores // at_once)}"]
    if at_once > 1:
        fewer.append(f"--jobs {max(1, cores // threads)}")
    many = f"{at_once} runs at once with " if at_once > 1 else ""
    return (
        f"{many}{count(threads, 'thread')} each (training.threads) on {count(cores, 'core')}: "
        f"threads that wait for each other make it slower. Try {' or '.join(fewer)}"
    )


def gpu_problems() -> list[str]:
    """Why a GPU that seems to be there cannot be used."""
    if torch.cuda.is_available() or not Path("/proc/driver/nvidia").exists():
        return []
    build = "is built without CUDA" if torch.version.cuda is None else "cannot use it"
    return [
        f"there is an NVIDIA driver, but torch {torch.__version__} {build}: runs are on the CPU. "
        "See pytorch.org for the build that fits the driver"
    ]


def _images_a_second(
    model: ModelSettings, images: torch.Tensor, precision: Precision, layout: str, threads: int
) -> float:
    device = images.device
    encoder = build_encoder(
        model.encoder, channels=images.shape[1], width=model.width, norm=model.norm
    ).to(device)
    images = images.contiguous(memory_format=_LAYOUTS[layout])

    def seconds() -> float:
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            features = encoder.backbone(images)
        features.float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first = seconds()
        # So slow that it needs no second look.
        taken = [first] if first > 4 * _SECONDS_A_CELL else [seconds()]
        while sum(taken) < _SECONDS_A_CELL:
            taken.append(seconds())
    finally:
        torch.set_num_threads(before)
    return len(images) * len(taken) / sum(taken)
