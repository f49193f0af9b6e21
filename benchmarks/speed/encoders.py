"""Accuracy of encoders against their time: one epoch of joint CIFAR-10, and images a second.

    python benchmarks/speed/encoders.py --data-root DIR                   # everything
    python benchmarks/speed/encoders.py --only speed                      # all at once, no data
    python benchmarks/speed/encoders.py --data-root DIR --only airnet-32  # the epoch of one encoder

- speed: images a second, forward and backward, in float32. All encoders take turns in one process;
  an encoder's lead over the slim ResNet-18 is the median over turns, so that other load on the
  machine falls on both.
- every other part is an encoder with its width: accuracy on the test images after one epoch of all
  training images, in batches of 128, by AdamW with a peak learning rate of 3e-3 (one-cycle), crop
  and flip. Its whitening layer, if it has one, knows all training images here.

Writes encoders.json, .md, .svg and .png after every part, and keeps there what an earlier call on
this machine, with these versions and threads, has measured and this one does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from _common import begun, command, environment, write, write_figure
from _encoders_page import BASE, draw, page
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

from simo_cl.models import Classifier, Encoder, build_encoder
from simo_cl.streams import DataSet, load_data
from simo_cl.streams.image_store import ImageStore, image_store

SPEED = "speed"
ENCODERS = {
    BASE: ("slim_resnet18", 20),
    "slim_resnet18-10": ("slim_resnet18", 10),
    "airnet-16": ("airnet", 16),
    "airnet-24": ("airnet", 24),
    "airnet-32": ("airnet", 32),
    "airnet-48": ("airnet", 48),
    "airnet_half-32": ("airnet_half", 32),
    "airnet_half-48": ("airnet_half", 48),
    "airnet_half-64": ("airnet_half", 64),
}
BATCH = 128  # of training
SPEED_BATCHES = (20, BATCH)
IMAGES_A_TURN = 256  # at least, so that a turn is no instant
IMAGES_TO_WHITEN_BY = 2000
LR = 3e-3


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    # Of libraries to their developers.
    warnings.showwarning = lambda *_, **__: None
    report = begun(options.out, "encoders", environment())
    for name in options.only:
        rows = speed(options) if name == SPEED else [epoch(name, options)]
        for row in rows:
            print({key: value for key, value in row.items() if key != "turns"}, flush=True)
        measured = set(map(part, rows))
        report["commands"] |= {name: command("encoders")}
        report["rows"] = [row for row in report["rows"] if part(row) not in measured] + rows
        report["rows"].sort(key=lambda row: (list(ENCODERS).index(row["encoder"]), part(row)))
        write(options.out, "encoders", report, page(report))
        write_figure(options.out, "encoders", lambda plt: draw(plt, report["rows"]))


def part(row: dict[str, Any]) -> tuple[str, str, int]:
    """What tells rows apart."""
    return row["section"], row["encoder"], row["batch"] if "batch" in row else row["seed"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = [SPEED, *ENCODERS]
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=names, default=parts, help=f"of {parts}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11, help="turns that count")
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    unknown = set(options.only) - set(parts)
    if unknown:
        parser.error(f"--only: {sorted(unknown)} are not among {parts}")
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return options


def speed(options: argparse.Namespace) -> list[dict[str, Any]]:
    encoders = {name: build_encoder(kind, width=width) for name, (kind, width) in ENCODERS.items()}
    rows = []
    for batch in SPEED_BATCHES:
        images = torch.randn(batch, 3, 32, 32)
        seconds: dict[str, list[float]] = {name: [] for name in encoders}
        for turn in range((1 if options.quick else options.rounds) + 1):
            for name, encoder in encoders.items():
                taken = seconds_a_batch(encoder, images, batch if options.quick else IMAGES_A_TURN)
                if turn > 0:  # the first warms up
                    seconds[name].append(taken)
        for name, taken in seconds.items():
            leads = [slim / own for slim, own in zip(seconds[BASE], taken, strict=True)]
            rows.append(
                {
                    "section": SPEED,
                    "encoder": name,
                    "batch": batch,
                    "multiplications": multiplications(encoders[name]),
                    "images_a_second": batch / statistics.median(taken),
                    "times_slim": statistics.median(leads),
                    "turns": taken,
                }
            )
    return rows


def seconds_a_batch(encoder: Encoder, images: Tensor, images_a_turn: int) -> float:
    repeats = -(-images_a_turn // len(images))
    started = time.perf_counter()
    for _ in range(repeats):
        encoder(images).sum().backward()
    return (time.perf_counter() - started) / repeats


def epoch(name: str, options: argparse.Namespace) -> dict[str, Any]:
    kind, width = ENCODERS[name]
    data = load_data("digits" if options.quick else "cifar10", options.data_root)
    if options.quick:
        data = enlarged_part(data)
    train = image_store(data, "train", ("crop", "flip"))
    torch.manual_seed(options.seed)
    encoder = build_encoder(kind, channels=data.channels, width=width)
    spread = torch.arange(IMAGES_TO_WHITEN_BY) * len(train) // IMAGES_TO_WHITEN_BY
    encoder.fit_whitening(train.batch(rows, "eval")[0] for rows in spread.split(BATCH))
    model = Classifier(encoder, data.num_classes)
    started = time.perf_counter()
    train_an_epoch(model, train)
    return {
        "section": "accuracy",
        "encoder": name,
        "seed": options.seed,
        "data": data.note,
        "train_seconds": time.perf_counter() - started,
        "accuracy": accuracy(model, image_store(data, "test")),
    }


def train_an_epoch(model: nn.Module, train: ImageStore) -> None:
    batches = torch.randperm(len(train)).split(BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    schedule = OneCycleLR(optimizer, max_lr=LR, total_steps=len(batches))
    for rows in batches:
        images, labels = train.batch(rows, "train")
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, test: ImageStore) -> float:
    model.eval()
    hits = 0
    for rows in torch.arange(len(test)).split(500):
        images, labels = test.batch(rows, "eval")
        hits += int((model(images).argmax(dim=1) == labels).sum())
    return hits / len(test)


@torch.no_grad()
def multiplications(encoder: Encoder) -> int:
    """Of the trained convolutions, for an image of 32 x 32 pixels."""
    count = 0

    def add(layer: nn.Conv2d, _: Any, output: Tensor) -> None:
        nonlocal count
        count += layer.weight.numel() * output.shape[2] * output.shape[3]

    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_hook(add) for layer in convolutions]
    encoder.eval()(torch.zeros(1, 3, 32, 32))
    encoder.train()
    for hook in hooks:
        hook.remove()
    return count


def enlarged_part(data: DataSet) -> DataSet:
    """A quarter of the images, four times as large."""
    parts = []
    for part_ in (data.train, data.test):
        pixels = part_.images[::4].repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        parts.append(type(part_)(pixels, part_.labels[::4]))
    return DataSet(data.name, *parts, data.class_names, f"{data.note}, a quarter, enlarged")


if __name__ == "__main__":
    main()
