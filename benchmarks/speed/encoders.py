"""Accuracy of encoders against their time: one epoch of joint CIFAR-10, and images a second.

    python benchmarks/speed/encoders.py --data-root DIR                   # everything
    python benchmarks/speed/encoders.py --only speed                      # all at once, no data
    python benchmarks/speed/encoders.py --data-root DIR --only airnet-32  # the epoch of one encoder

- speed: images a second, forward and backward, in float32. All encoders take turns in one process;
  an encoder's lead over the slim ResNet-18 is the median over turns, so that other load on the
  machine falls on both. Each turn warms up first.
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
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from _report import (
    COLOURS,
    Report,
    Row,
    bounds_table,
    hide_warnings,
    option_parser,
    random_data,
    table,
    take_turns,
)
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from simo_cl.models import Classifier, Encoder, build_encoder
from simo_cl.streams import load_data
from simo_cl.streams.image_store import ImageStore, image_store

SPEED, BASE = "speed", "slim_resnet18-20"
ENCODERS = [BASE, "slim_resnet18-10", "airnet-16", "airnet-24", "airnet-32", "airnet-48"]
ENCODERS += ["airnet_half-32", "airnet_half-48", "airnet_half-64"]  # each with its width
BATCH = 128  # of training
SPEED_BATCHES = (20, BATCH)
IMAGES_A_TURN = 256  # at least, so that a turn is no instant
IMAGES_TO_WHITEN_BY = 2000
IMAGES_OF_CIFAR10 = 50_000
LR = 3e-3


def main() -> None:
    parser = option_parser(__doc__, [SPEED, *ENCODERS])
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11, help="turns that count")
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    torch.set_num_threads(options.threads)
    hide_warnings()
    report = Report("encoders", options.out, page, draw)
    for name in options.only:
        rows = speed(options) if name == SPEED else [epoch(name, options)]
        print(table(rows), flush=True)
        same = ("section", "encoder", "batch", "seed")
        report.add_rows(name, rows, same, lambda row: ENCODERS.index(row["encoder"]))


def encoder_named(name: str, channels: int = 3) -> Encoder:
    kind, _, width = name.rpartition("-")
    return build_encoder(kind, channels=channels, width=int(width))


def speed(options: argparse.Namespace) -> list[Row]:
    encoders = {name: encoder_named(name) for name in ENCODERS}
    rows = []
    for batch in SPEED_BATCHES:
        images = torch.randn(batch, 3, 32, 32)
        repeats = 1 if options.quick else -(-IMAGES_A_TURN // batch)
        turns = {}
        for name, encoder in encoders.items():
            step, objects = (
                "encoder(images).sum().backward()",
                {"encoder": encoder, "images": images},
            )
            timer = Timer(step, globals=objects, num_threads=options.threads)
            turns[name] = partial(timer.timeit, repeats)
        measured = take_turns(turns, 1 if options.quick else options.rounds)
        seconds = {name: [each.mean for each in taken] for name, taken in measured.items()}
        for name, taken in seconds.items():
            leads = [slim / own for slim, own in zip(seconds[BASE], taken, strict=True)]
            row = {"section": SPEED, "encoder": name, "batch": batch, "turns": taken}
            row["multiplications"] = multiplications(encoders[name])
            row["images_a_second"] = batch / statistics.median(taken)
            rows.append(row | {"times_slim": statistics.median(leads)})
    return rows


@torch.no_grad()
def multiplications(encoder: Encoder) -> int:
    """Of the trained convolutions, for an image of 32 x 32 pixels."""
    with FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(1, 3, 32, 32))
    encoder.train()
    whitening = counter.get_flop_counts().get("Encoder.backbone.whitening", {})
    # A multiplication and an addition are two operations.
    return (counter.get_total_flops() - sum(whitening.values())) // 2


def epoch(name: str, options: argparse.Namespace) -> Row:
    data = random_data(30) if options.quick else load_data("cifar10", options.data_root)
    train = image_store(data, "train", ("crop", "flip"))
    torch.manual_seed(options.seed)
    encoder = encoder_named(name, data.channels)
    spread = torch.arange(IMAGES_TO_WHITEN_BY) * len(train) // IMAGES_TO_WHITEN_BY
    encoder.fit_whitening(train.batch(rows, "eval")[0] for rows in spread.split(BATCH))
    model, started = Classifier(encoder, data.num_classes), time.perf_counter()
    batches = torch.randperm(len(train)).split(BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    schedule = OneCycleLR(optimizer, max_lr=LR, total_steps=len(batches))
    for rows in batches:
        images, labels = train.batch(rows, "train")
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        schedule.step()
    row = {"section": "accuracy", "encoder": name, "seed": options.seed, "data": data.note}
    row["train_seconds"] = time.perf_counter() - started
    return row | {"accuracy": accuracy(model, image_store(data, "test"))}


@torch.no_grad()
def accuracy(model: nn.Module, test: ImageStore) -> float:
    model.eval()
    hits = 0
    for rows in torch.arange(len(test)).split(500):
        images, labels = test.batch(rows, "eval")
        hits += int((model(images).argmax(dim=1) == labels).sum())
    return hits / len(test)


def page(measured: Row) -> Iterator[str]:
    rows = measured["rows"]
    notes = ", ".join(sorted({row["data"] for row in rows if "data" in row}))
    yield "Encoders: accuracy against time"
    yield f"In float32{notes and ', on '}{notes}."
    yield bounds_table("encoders", rows)
    yield "![](encoders.svg)"
    yield (
        "Accuracy after one epoch of joint training (batches of 128, AdamW with a peak learning "
        "rate of 3e-3, one-cycle, crop and flip), the mean over seeds; images a second, forward "
        "and backward, of encoders that take turns in one process."
    )
    encoders = by_encoder(rows)
    formats = {"accuracy": "{:.3f}", "seeds": "{:.0f}", MILLIONS: "{:.1f}"}
    formats |= {key: "{:.0f}" for key in encoders if key.startswith("images a second")}
    yield table(encoders.reset_index(), **formats)


MILLIONS = "million multiplications an image"


def by_encoder(rows: list[Row]) -> pd.DataFrame:
    """Its mean accuracy over seeds, and its speed in each size of batch."""
    columns = ["encoder", "batch", "accuracy", "multiplications", "images_a_second", "times_slim"]
    frame = pd.DataFrame(rows, columns=columns).set_index("encoder")
    of_encoder = frame.groupby(level=0, sort=False)
    accuracy = of_encoder["accuracy"]
    found = pd.DataFrame({MILLIONS: of_encoder["multiplications"].first() / 1e6})
    found["accuracy"], found["seeds"] = accuracy.mean(), accuracy.count().replace(0, pd.NA)
    for batch, own in frame.groupby("batch"):
        found[f"images a second, {batch:.0f}"] = own["images_a_second"]
        found[f"times slim, {batch:.0f}"] = own["times_slim"]
    return found


def draw(plt: Any, measured: Row) -> Any:
    """Accuracy against the seconds of an epoch, an encoder a point; a line a family."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    found = by_encoder(measured["rows"]).reindex(columns=["accuracy", f"images a second, {BATCH}"])
    points = found.dropna().set_axis(["accuracy", "images a second"], axis=1)
    points["seconds"] = IMAGES_OF_CIFAR10 / points["images a second"]
    families = points.groupby(lambda name: name.rpartition("-")[0], sort=False)
    for colour, (family, own) in zip(COLOURS, families, strict=False):
        own = own.sort_values("seconds")
        axes.plot(own["seconds"], own["accuracy"], "o-", color=colour, label=family, markersize=5)
        for name, point in own.iterrows():
            at = {"xy": (point["seconds"], point["accuracy"]), "xytext": (5, -10)}
            axes.annotate(name.rpartition("-")[2], **at, textcoords="offset points", fontsize=8)
        axes.legend(frameon=False)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of an epoch, forward and backward, float32")
    axes.set_ylabel("accuracy after it")
    axes.set_title("Joint CIFAR-10, one epoch; beside a point its width", fontsize=10)
    return figure


if __name__ == "__main__":
    main()
