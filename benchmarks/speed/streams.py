"""Milliseconds an iteration of stock Avalanche, of ours, and of the bare PyTorch loop.

    python benchmarks/speed/streams.py --data-root DIR     # CIFAR-10; without it, random images
    python benchmarks/speed/streams.py --only online,course --precisions float32,bfloat16

The contestants of a comparison run in one process and in turn, a number of iterations each; the
first turn warms up and the median of the others counts. Batches and augmentations of a comparison
are the same, and so are networks, but that stock Avalanche is also run with its own slim ResNet-18,
which is float32. Evaluators have neither metrics nor loggers. Writes streams.json, .md, .svg and
.png after every comparison, and keeps there what an earlier call on this machine, with these
versions and data, has measured and this one does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from _common import begun, command, environment, synchronize, write, write_figure
from _contestants import (
    BATCH,
    LARGE_BATCH,
    REPLAYED,
    SCR_AUGMENT,
    SCR_MEMORY,
    SCR_REPLAYED,
    Chunk,
    LateMeansSCR,
    bare,
    contrastive_losses,
    der,
    er_ace,
    icarl,
    mir,
    our_contrastive,
    our_replay,
    pieces,
    stock_replay,
    stock_scr,
    training,
)
from _evaluation_cost import evaluation_cost
from _runs import QUICKSTART, SPLIT_CIFAR10
from _scene import (
    BARE,
    EMPTY,
    ON_OURS,
    OURS,
    OURS_SPLIT,
    SLIM,
    STOCK,
    STOCK_SLIM,
    Scene,
    random_data,
    smaller,
    stock_stream,
)
from _streams_page import comparison_table, course_table, draw, evaluation_table, page, title
from avalanche.training.supervised import SCR, Naive
from torch.nn.functional import cross_entropy
from torchvision.transforms import ToTensor

from simo_cl.streams import DataSet, load_data

# Of the training whose metrics are timed; their time does not depend on it.
SHARE_OF_STEPS = 0.07


@dataclass(frozen=True)
class Sizes:
    """How much is run.

    Attributes:
        rounds: turns that count.
        warming_up: turns before them, which do not.
        online, contrastive, mir, batch: iterations a turn, by network.
        images: of each class, for strategies that train on whole experiences, by network.
        course: batches of the stream that is followed, and between two measurements of it.
        width: of the slim ResNet-18.
    """

    rounds: int = 5
    warming_up: int = 1
    online: dict[str, int] = field(default_factory=lambda: {EMPTY: 200, SLIM: 20})
    contrastive: dict[str, int] = field(default_factory=lambda: {EMPTY: 20, SLIM: 2})
    mir: dict[str, int] = field(default_factory=lambda: {EMPTY: 50, SLIM: 10})
    batch: dict[str, int] = field(default_factory=lambda: {EMPTY: 20, SLIM: 4})
    images: dict[str, int] = field(default_factory=lambda: {EMPTY: 500, SLIM: 250})
    course: tuple[int, int] = (5000, 100)
    width: int = 20


FULL = Sizes()
QUICK = Sizes(
    rounds=1,
    warming_up=0,
    online={EMPTY: 4, SLIM: 2},
    contrastive={EMPTY: 2, SLIM: 1},
    mir={EMPTY: 2, SLIM: 1},
    batch={EMPTY: 2, SLIM: 1},
    images={EMPTY: 20, SLIM: 20},
    course=(30, 10),
    width=8,
)


@dataclass(frozen=True)
class Contestant:
    """One who takes turns.

    Attributes:
        name: unique in its comparison.
        chunk: what it does in a turn.
        stock, bare: names of the contestants to compare it with, where they take part.
    """

    name: str
    chunk: Chunk
    stock: str = STOCK
    bare: str = BARE


Comparison = tuple[Scene, list[Contestant]]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Avalanche repeats some at every experience, whatever the filters say.
    warnings.showwarning = lambda *_, **__: None
    data = random_data(150 if options.quick else 5000)
    if options.data_root is not None:
        data = load_data("cifar10", options.data_root)
    here = environment("avalanche-lib") | {"data": data.note}
    report = begun(options.out, "streams", here)
    for name in options.only:
        print(f"\n{HEADINGS[name]}", flush=True)
        if name == "course":
            report["course"] = course(data, options)
            keep(report, name, options.out)
            print(course_table(report), flush=True)
        elif name == "evaluation":
            report["evaluation"] = evaluation(data, options)
            keep(report, name, options.out)
            print(evaluation_table(report), flush=True)
        else:
            for scene, contestants in COMPARISONS[name](data, options):
                rows = take_turns(contestants, options)
                rows = [{"section": name, **described(scene), **row} for row in rows]
                this = title(rows[0])
                others = [r for r in report["rows"] if r["section"] != name or title(r) != this]
                report["rows"] = others + rows
                keep(report, f"{name}: {this}", options.out)
                print(f"\n{this}\n{comparison_table(rows)}", flush=True)


def keep(report: dict[str, Any], part: str, out: Path) -> None:
    """Writes the report with a part that is new in it."""
    report["commands"][part] = command("streams")
    report["rows"].sort(key=lambda row: list(HEADINGS).index(row["section"]))
    write(out, "streams", report, page(report, HEADINGS))
    write_figure(out, "streams", lambda plt: draw(plt, report))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=names, default=list(HEADINGS), help=f"of {list(HEADINGS)}")
    parser.add_argument("--networks", type=names, default=[EMPTY, SLIM], help="of both")
    parser.add_argument("--precisions", type=names, default=["float32"], help="of the ResNet")
    parser.add_argument("--rounds", type=int, help=f"turns that count, default {FULL.rounds}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    allowed = {
        "only": list(HEADINGS),
        "networks": [EMPTY, SLIM],
        "precisions": ["float32", "bfloat16"],
    }
    for name, values in allowed.items():
        unknown = set(getattr(options, name)) - set(values)
        if unknown:
            parser.error(f"--{name}: {sorted(unknown)} are not among {values}")
    options.sizes = QUICK if options.quick else FULL
    if options.rounds is not None:
        # iCaRL learns one class of ten in a turn, and one turn warms up.
        if not 1 <= options.rounds <= 9:
            parser.error(f"--rounds is {options.rounds}; it must be from 1 to 9")
        options.sizes = replace(options.sizes, rounds=options.rounds)
    return options


# --- what is compared ---------------------------------------------------------------------------


def scenes(
    data: DataSet, options: argparse.Namespace, augment: tuple[str, ...]
) -> Iterator[tuple[Scene, str]]:
    """Each network in each of its precisions, and the network's name."""
    for network in options.networks:
        for precision in ["float32"] if network == EMPTY else options.precisions:
            width = options.sizes.width
            yield Scene(data, network, precision, augment, options.device, width), network


def stock_scenes(scene: Scene) -> dict[str, Scene]:
    """Those of stock strategies, by what their names end in: with Avalanche's network and ours."""
    if scene.network == EMPTY:
        return {"": scene}
    return {"": replace(scene, network=STOCK_SLIM, precision="float32"), ", our network": scene}


def online(data: DataSet, options: argparse.Namespace) -> Iterator[Comparison]:
    for augment in ((), ("crop", "flip")):
        for scene, network in scenes(data, options, augment):
            n = options.sizes.online[network]
            loop = bare(scene, scene.classifier(), cross_entropy, n, new=BATCH, replayed=REPLAYED)
            contestants = online_strategies(scene, n, filled=True)
            yield (
                scene,
                [Contestant(name, chunk) for name, chunk in contestants.items()]
                + [Contestant(BARE, loop)],
            )


def online_strategies(scene: Scene, n: int, *, filled: bool) -> dict[str, Chunk]:
    """By name, with or without a memory that is full from the beginning."""
    stock, ours = scene.stock.train_stream, scene.resident.train_stream
    on_ours = stock_replay(scene, ours, filled=filled)
    return {
        **{
            STOCK + network: training(
                stock_replay(own, stock, filled=filled), pieces(stock, BATCH), n
            )
            for network, own in stock_scenes(scene).items()
        },
        ON_OURS: training(on_ours, pieces(ours, BATCH), n),
        OURS_SPLIT: training(our_replay(scene, filled=filled), pieces(ours, BATCH), n),
        OURS: training(our_replay(scene, filled=filled), pieces(ours, n * BATCH), 1),
    }


def contrastive(data: DataSet, options: argparse.Namespace) -> Iterator[Comparison]:
    late = f"{STOCK}, class means at the end"
    for scene, network in scenes(data, options, SCR_AUGMENT):
        n = options.sizes.contrastive[network]
        stock = stock_stream(data, [ToTensor()], scene.experiences).train_stream
        ours = scene.resident.train_stream
        contestants = [
            Contestant(name + of, training(stock_scr(own, kind, stock), pieces(stock, BATCH), n))
            for name, kind in ((STOCK, SCR), (late, LateMeansSCR))
            for of, own in stock_scenes(scene).items()
        ]
        for name, loss in contrastive_losses().items():
            strategy = our_contrastive(scene, loss)
            loop = bare(
                scene,
                scene.embedding_model(),
                loss,
                n,
                new=BATCH,
                replayed=SCR_REPLAYED,
                memory=SCR_MEMORY,
                views=2,
                clip=strategy.clip_grad_norm,
            )
            peer = f"{BARE}, {name}"
            chunk = training(strategy, pieces(ours, n * BATCH), 1)
            contestants += [
                Contestant(f"ours, {name}", chunk, bare=peer),
                Contestant(peer, loop, bare=peer),
            ]
        yield scene, contestants


def strategies(data: DataSet, options: argparse.Namespace) -> Iterator[Comparison]:
    for scene, network in scenes(data, options, ("crop", "flip")):
        whole = replace(scene, data=smaller(data, options.sizes.images[network]), experiences=10)
        n = options.sizes.mir[network]
        kinds: dict[str, tuple[Callable[[Scene, Any], Chunk], Scene]] = {
            "ER-ACE": (er_ace, whole),
            "DER": (der, whole),
            "iCaRL": (icarl, whole),
            "MIR": (lambda scene, stream, n=n: mir(scene, stream, n), scene),
        }
        contestants = []
        for name, (kind, own) in kinds.items():
            peer, stock = f"{name}, stock", own.stock.train_stream
            contestants += [
                *(
                    Contestant(peer + of, kind(other, stock), stock=peer)
                    for of, other in stock_scenes(own).items()
                ),
                Contestant(f"{name}, our data", kind(own, own.resident.train_stream), stock=peer),
            ]
        yield scene, contestants


def batch(data: DataSet, options: argparse.Namespace) -> Iterator[Comparison]:
    for whole, network in scenes(data, options, ("crop", "flip")):
        n = options.sizes.batch[network]
        # Two classes an experience: n batches.
        scene = replace(whole, data=smaller(data, n * LARGE_BATCH // 2))
        stock, ours = scene.stock.train_stream, scene.resident.train_stream
        parts = [(STOCK + of, own, stock) for of, own in stock_scenes(scene).items()]
        contestants = []
        for name, own, stream in [*parts, (ON_OURS, scene, ours)]:
            strategy = Naive(**own.arguments(own.classifier(), LARGE_BATCH))
            contestants.append(Contestant(name, training(strategy, cycle(stream), 1)))
        loop = bare(scene, scene.classifier(), cross_entropy, n, new=LARGE_BATCH)
        yield scene, [*contestants, Contestant(BARE, loop)]


def course(data: DataSet, options: argparse.Namespace) -> dict[str, Any]:
    total, window = options.sizes.course
    scene = Scene(data, EMPTY, augment=("crop", "flip"), device=options.device)
    chunks = online_strategies(scene, window, filled=False)
    series: dict[str, list[float]] = {name: [] for name in chunks}
    for _ in range(total // window):
        for name, chunk in chunks.items():
            series[name].append(timed(chunk, options.device))
    return {"window": window, "ms": series}


def evaluation(data: DataSet, options: argparse.Namespace) -> dict[str, Any]:
    if options.quick:
        suite, data = QUICKSTART, load_data("digits")
    else:
        suite = SPLIT_CIFAR10
    seconds = evaluation_cost(suite, data, options.device, share_of_steps=SHARE_OF_STEPS)
    torch.set_num_threads(options.threads)  # the suite has its own number
    return {"suite": suite.stem, "seconds": seconds}


COMPARISONS: dict[str, Callable[[DataSet, argparse.Namespace], Iterator[Comparison]]] = {
    "online": online,
    "contrastive": contrastive,
    "strategies": strategies,
    "batch": batch,
}
HEADINGS = {
    "online": "Online: 10 new images and 10 of a full class-balanced memory of 1,000",
    "contrastive": (
        "Online contrastive: 10 new images and 100 of a full class-balanced memory of 200, in two "
        "views; where the second one is stock, torchvision makes it of a batch at once"
    ),
    "strategies": (
        "Avalanche's own strategies: MIR online, ER-ACE and DER in one pass over each experience, "
        "10 and 10, iCaRL in batches of 128"
    ),
    "batch": "Batch protocol: Avalanche's Naive in batches of 128",
    "course": "Course of an online stream, empty network, crop and flip, from an empty memory on",
    "evaluation": (
        "Metrics and MLflow beside the training, in a run of simo whose training is extrapolated "
        f"from {SHARE_OF_STEPS:.0%} of its steps"
    ),
}


# --- measuring ----------------------------------------------------------------------------------


def described(scene: Scene) -> dict[str, str]:
    return {
        "network": scene.network,
        "precision": scene.precision,
        "augment": " + ".join(scene.augment),
    }


def take_turns(contestants: list[Contestant], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Interleaved, so that what else the machine does hits all."""
    turns: dict[str, list[float]] = {one.name: [] for one in contestants}
    warming_up = options.sizes.warming_up
    for _ in range(warming_up + options.sizes.rounds):
        for one in contestants:
            turns[one.name].append(timed(one.chunk, options.device))
    counted = {name: values[warming_up:] for name, values in turns.items()}
    ms = {name: statistics.median(values) for name, values in counted.items()}
    rows = []
    for one in contestants:
        row = {"contestant": one.name, "ms": ms[one.name], "turns": counted[one.name]}
        for key, peer in (("times_stock", one.stock), ("of_bare", one.bare)):
            if peer in ms:
                row[key] = ms[peer] / ms[one.name]
        rows.append(row)
    return rows


def timed(chunk: Chunk, device: str) -> float:
    """Milliseconds an iteration."""
    synchronize(device)
    start = time.perf_counter()
    iterations = chunk()
    synchronize(device)
    return 1e3 * (time.perf_counter() - start) / iterations


if __name__ == "__main__":
    main()
