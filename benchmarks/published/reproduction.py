"""Published online results on Split CIFAR-10, each as its script sets it up, on our streams.

    python benchmarks/published/reproduction.py --data-root FOLDER --seeds 0 --seeds 1 --seeds 2
    python benchmarks/published/reproduction.py --only-table    # from the finished runs

The scripts are those of Avalanche's baselines, https://github.com/ContinualAI/continual-learning-baselines;
the targets are of that project's `tests/target_results.csv`. The strategies are Avalanche's
own, unchanged but for two things: SCR computes its class means where they are read, after the last
batch, not after each; and ER-AML is there twice, as Avalanche's, whose loss divides each similarity
by the sum of another anchor, and as ours, after the paper. Class order, held-out share,
normalisation and augmentation are the script's. The encoder computes in bfloat16 where the scripts
use float32, which halves the time on a CPU.
Finished runs are kept in `runs.csv` and not repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from avalanche.benchmarks.scenarios import split_online_stream
from avalanche.models import SCRModel
from avalanche.training.determinism.rng_manager import RNGManager
from avalanche.training.plugins import EvaluationPlugin, MIRPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from avalanche.training.supervised import ER_ACE, ER_AML, SCR, Naive
from torch import nn
from torch.optim import SGD

from simo_cl.harness.environment import describe_environment
from simo_cl.models import Classifier, Encoder, build_encoder
from simo_cl.streams import DataSet, load_data
from simo_cl.streams.batch_augmentation import BatchTransform
from simo_cl.streams.class_incremental import ClassIncremental, class_incremental
from simo_cl.training import BalancedReplayPlugin, SimOPlugin
from simo_cl.training.asymmetric_metric_learning import AsymmetricMetricLoss, MemoryCrossEntropy

BATCH = 10
PRECISION = "bfloat16"
MADE_WITH = ("data", "precision", "device", "cpu", "threads", "torch", "avalanche")
PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
# What Avalanche's SplitCIFAR10 normalizes by, unless its user says otherwise.
AVALANCHE = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
# How far below its target a result may lie; a JPEG copy of the data alone costs up to 0.03.
ALLOWED = 0.04

REPLAY = {"mem_size": 1000, "batch_size_mem": 10}


def classifier() -> Classifier:
    return Classifier(slim_resnet18(), 10)


def slim_resnet18() -> Encoder:
    return build_encoder("slim_resnet18", precision=PRECISION)


@dataclass(frozen=True)
class Recipe:
    """A published result and what its script does.

    Attributes:
        target: average accuracy after the last experience.
        script: of the project's `experiments/split_cifar10`.
        setting: in words, for the table.
        stream: arguments of :func:`class_incremental`.
        build: the strategy, from the arguments that all share, its model and optimizer among them.
        model: what it trains.
        lr: of plain gradient descent.
        online: whether each batch is an experience of its own.
        drop_last: whether incomplete batches are left out, also of a memory that is still small.
    """

    target: float
    script: str
    setting: str
    stream: dict[str, Any]
    build: Callable[..., Any]
    model: Callable[[], nn.Module] = classifier
    lr: float = 0.1
    online: bool = True
    drop_last: bool = True


def online_replay(**common: Any) -> Naive:
    memory = ClassBalancedBuffer(1000, adaptive_size=True)
    return Naive(plugins=[ReplayPlugin(1000, storage_policy=memory)], **common)


def mir(**common: Any) -> Naive:
    return Naive(plugins=[MIRPlugin(subsample=50, **REPLAY)], **common)


def er_aml(model: Classifier, **common: Any) -> ER_AML:
    return ER_AML(model=model, feature_extractor=model.encoder, temp=0.1, **REPLAY, **common)


def er_aml_of_the_paper(**common: Any) -> Naive:
    replay = BalancedReplayPlugin(1000, 2 * BATCH, replays_current=True)
    metric_loss = SimOPlugin(1.0, AsymmetricMetricLoss(replay, temperature=0.1))
    return Naive(criterion=MemoryCrossEntropy(replay), plugins=[replay, metric_loss], **common)


def scr_model() -> SCRModel:
    encoder = slim_resnet18()
    width = encoder.num_features
    projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128))
    return SCRModel(feature_extractor=encoder, projection=projection)


class LateMeansSCR(SCR):
    """SCR whose class means are computed where they are read, not after each of 5,000 batches."""

    def _after_training_exp(self, **kwargs: Any) -> None:
        super(SCR, self)._after_training_exp(**kwargs)


def scr(**common: Any) -> SCR:
    names = ("resized_crop", "flip", "color_jitter", "grayscale")
    augment = BatchTransform(names, size=32, mean=PIXELS[0], std=PIXELS[1])
    return LateMeansSCR(
        augmentations=lambda images: augment((images * 255).round().to(torch.uint8)),
        mem_size=200,
        batch_size_mem=100,
        **common,
    )


NATURAL = {"seed": None, "validation": 0.05}
RECIPES = {
    "online replay": Recipe(
        0.50,
        "online_replay.py",
        "memory 1000, 10 + 10, lr 0.1, crop and flip",
        {**NATURAL, "augment": ("crop", "flip"), "normalization": AVALANCHE},
        online_replay,
    ),
    "MIR": Recipe(
        0.46,
        "mir.py",
        "memory 1000, 10 + 10 of 50, lr 0.05, pixels in [0, 1]",
        {**NATURAL, "normalization": PIXELS},
        mir,
        lr=0.05,
    ),
    "ER-ACE": Recipe(
        0.45,
        "er_ace.py",
        "memory 1000, 10 + 10, lr 0.1, normalized; one epoch over each experience",
        {**NATURAL, "normalization": AVALANCHE},
        partial(ER_ACE, **REPLAY),
        online=False,
    ),
    "ER-AML": Recipe(
        0.47,
        "er_aml.py",
        "as ER-ACE, temperature 0.1, nothing held out",
        {"seed": None, "normalization": AVALANCHE},
        er_aml,
        online=False,
    ),
    "ER-AML of the paper": Recipe(
        0.47,
        "er_aml.py",
        "the same with our loss, on class-balanced batches",
        {"seed": None, "normalization": AVALANCHE},
        er_aml_of_the_paper,
        online=False,
    ),
    "SCR": Recipe(
        0.36,
        "supervised_contrastive_replay.py",
        "memory 200, (10 + 100) x 2 views, lr 0.1, random class order, no review trick",
        {"normalization": PIXELS},
        scr,
        scr_model,
        drop_last=False,
    ),
}


def execute(recipe: Recipe, data: DataSet, seed: int) -> dict[str, float]:
    """Trains and evaluates one run."""
    RNGManager.set_random_seeds(seed)
    benchmark = class_incremental(data, **{"seed": seed, **recipe.stream})
    model = recipe.model()
    strategy = recipe.build(
        model=model,
        optimizer=SGD(model.parameters(), lr=recipe.lr),
        train_mb_size=BATCH,
        eval_mb_size=500,
        evaluator=EvaluationPlugin(),
    )
    started = time.perf_counter()
    experiences = benchmark.train_stream
    if recipe.online:
        experiences = split_online_stream(experiences, BATCH, seed=seed)
    for experience in experiences:
        strategy.train(experience, eval_streams=[], drop_last=recipe.drop_last)
    seconds = time.perf_counter() - started
    return {"average_accuracy": average_accuracy(strategy, benchmark), "train_seconds": seconds}


@torch.no_grad()
def average_accuracy(strategy: Any, benchmark: ClassIncremental) -> float:
    """Mean over experiences of the accuracy on their test images."""
    model = strategy.model.eval()
    if isinstance(strategy, SCR):
        # In evaluation mode, as SCR does it: batch statistics of one class would hide its mean.
        strategy.compute_class_means()
    accuracies = []
    for experience in benchmark.test_stream:
        loader = torch.utils.data.DataLoader(experience.dataset, batch_size=500)
        hits = [(model(x).argmax(1) == y).float() for x, y, _ in loader]
        accuracies.append(torch.cat(hits).mean().item())
    return float(np.mean(accuracies))


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a strategy: what was published and where, ours, and what to think of it."""
    rows = []
    for name, recipe in RECIPES.items():
        values = runs.loc[runs["strategy"] == name, "average_accuracy"]
        if values.empty:
            continue
        deviation = values.mean() - recipe.target
        rows.append(
            {
                "strategy": name,
                "setting": recipe.setting,
                "source": recipe.script,
                "target": f"{recipe.target:.2f}",
                "ours": f"{values.mean():.3f}",
                "std": f"{values.std():.3f}" if len(values) > 1 else "",
                "seeds": len(values),
                "deviation": f"{deviation:+.3f}",
                "within bound": "yes" if deviation >= -ALLOWED else "no",
            }
        )
    return pd.DataFrame(rows)


def write_table(runs: pd.DataFrame, folder: Path) -> None:
    """Writes `table.csv` and `table.md`."""
    written = table(runs)
    written.to_csv(folder / "table.csv", index=False)
    lines = [list(written), ["---"] * written.shape[1], *written.astype(str).to_numpy().tolist()]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    made = [
        f"{name} {' and '.join(map(str, runs[name].unique()))}"
        for name in MADE_WITH
        if name in runs
    ]
    text += f"\n{', '.join(made)}\n" if made else ""
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text)


def run_missing(
    names: list[str], seeds: list[int], data: DataSet, threads: int, path: Path
) -> None:
    """Executes the runs that the file of runs lacks, and adds them to it."""
    environment = describe_environment(torch.device("cpu"), threads)
    for seed in seeds:
        for name in names:
            runs = finished(path)
            if len(runs) and ((runs["strategy"] == name) & (runs["seed"] == seed)).any():
                continue
            run = {"strategy": name, "seed": seed, **execute(RECIPES[name], data, seed)}
            run |= {"precision": PRECISION, "data": data.note, **environment}
            # Read again: another process may have finished a run meanwhile.
            runs = pd.concat([finished(path), pd.DataFrame([run])])
            runs.sort_values(["strategy", "seed"]).to_csv(path, index=False)
            print(f"{name}, seed {seed}: {run['average_accuracy']:.3f}", flush=True)


def finished(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def main(
    data_root: Annotated[Path | None, typer.Option(help="Folder with CIFAR-10.")] = None,
    seeds: Annotated[list[int], typer.Option(help="Repeat for several.")] = [0, 1, 2],  # noqa: B006
    only: Annotated[list[str] | None, typer.Option(help="Strategies; repeat for several.")] = None,
    only_table: Annotated[
        bool, typer.Option("--only-table", help="Run nothing; write the table of finished runs.")
    ] = False,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    results: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(
        "results/reproduction"
    ),
) -> None:
    """Run what is missing and write the table."""
    unknown = set(only or ()) - set(RECIPES)
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; allowed: {', '.join(RECIPES)}")
    path = results / "runs.csv"
    if only_table and not path.exists():
        raise typer.BadParameter(f"{path} does not exist: leave --only-table away to make it")
    if not only_table:
        torch.set_num_threads(threads)
        results.mkdir(parents=True, exist_ok=True)
        run_missing(only or list(RECIPES), seeds, load_data("cifar10", data_root), threads, path)
    write_table(finished(path), results)


if __name__ == "__main__":
    typer.run(main)
