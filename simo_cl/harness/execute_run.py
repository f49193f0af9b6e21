"""Train and evaluate one run."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.scenarios import split_online_stream

from simo_cl.harness.environment import describe_environment
from simo_cl.harness.export import export_model
from simo_cl.harness.plan import Run
from simo_cl.harness.run_folder import RunFolder
from simo_cl.harness.settings import RunSettings, StreamSettings, TrainingSettings
from simo_cl.harness.setup import Setup
from simo_cl.streams import DataSet
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.training.online_replay import OnlineReplayPlugin

Progress = Callable[[int, int], None]
"""Told (steps taken, steps in all)."""


def execute_run(
    run: Run, data: DataSet, folder: RunFolder, device: torch.device, progress: Progress
) -> None:
    """Trains on each experience in turn and writes what is measured after each.

    Raises:
        Exception: whatever the run failed with; the folder holds what was measured before.
    """
    from simo_cl.harness.evaluation import Evaluation

    settings, file = run.settings, run.strategy_file
    torch.set_num_threads(settings.training.threads)
    folder.start(run, describe_environment(device, settings.training.threads))
    benchmark = make_benchmark(
        data, settings.stream, settings.training, settings.seed, file.joint, device
    )
    steps = _steps(benchmark, settings, file.joint)
    setup = Setup(settings, data, device, steps, lambda taken: progress(taken, sum(steps)))
    _seed_everything(settings.seed, 0)
    strategy = file.module.build(setup, file.settings(settings.settings, run.places))
    budget = _budget(strategy, file.name)
    evaluation = Evaluation(
        benchmark,
        strategy,
        file,
        settings.evaluation,
        settings.memory.size,
        settings.stream.evaluate_on,
    )
    strategy.model.to(device)
    folder.log(f"{run.label}, seed {settings.seed}, {steps} steps on {device}")
    clock = _Stopwatch()
    with clock:
        evaluation.before_training()
    for index, experience in enumerate(benchmark.train_stream):
        _seed_everything(settings.seed, index)
        _train(strategy, experience, settings)
        with clock:
            metrics = evaluation.after_experience(experience)
        metrics |= {
            "train/loss": budget.mean_loss,
            "cost/steps": float(budget.steps_taken),
            "cost/images": float(_images_forwarded(strategy.model)),
            "cost/train_seconds": budget.seconds,
            "cost/evaluate_seconds": clock.seconds,
        }
        folder.write_arrays("arrays", evaluation.arrays())
        folder.add_metrics(index, metrics)
        folder.log(f"experience {index}: average accuracy {metrics['average_accuracy']:.4f}")
    folder.write_arrays("embeddings", _sampled_embeddings(evaluation.sample))
    folder.write_arrays("snapshots", evaluation.snapshots.arrays())
    export_model(strategy.model, evaluation.layers, data, folder)
    export_model(strategy.model, evaluation.layers, data, folder)
    folder.finish()


def _train(strategy: Any, experience: Any, settings: RunSettings) -> None:
    """Trains on an experience; online, on one small experience a batch where the strategy's memory
    changes between experiences alone."""
    stream = settings.stream
    if stream.protocol == "batch":
        strategy.train(experience, eval_streams=[], drop_last=True)
        return
    parts = [experience]
    if not any(isinstance(plugin, OnlineReplayPlugin) for plugin in strategy.plugins):
        parts = split_online_stream(parts, stream.batch_size, seed=settings.seed)
    for part in parts:
        strategy.train(part, eval_streams=[])


def make_benchmark(
    data: DataSet,
    stream: StreamSettings,
    training: TrainingSettings,
    seed: int,
    joint: bool,
    device: torch.device,
) -> Any:
    """The class-incremental benchmark of a run; a joint one has a single training experience."""
    order: Sequence[int] | None
    if stream.class_order == "natural":
        order = range(data.num_classes)
    else:
        order = None if stream.class_order == "seeded" else stream.class_order
    return class_incremental(
        data,
        experiences=stream.experiences,
        class_order=order,
        seed=seed,
        validation=stream.validation,
        augment=training.augment,
        joint=joint,
        device=device,
    )


def _steps(benchmark: Any, settings: RunSettings, joint: bool) -> list[int]:
    """Optimizer steps of each experience; joint training gets all of them in one."""
    labels = np.concatenate([list(e.dataset.targets) for e in benchmark.train_stream])
    parts = [list(e.classes_in_this_experience) for e in benchmark.test_stream]
    sizes = [int(np.isin(labels, part).sum()) for part in parts]
    stream, training = settings.stream, settings.training
    if stream.protocol == "online":
        sizes = [sum(sizes)] if joint else sizes
        steps = [math.ceil(n / stream.batch_size) * stream.updates_per_batch for n in sizes]
    else:
        steps = [max(1, math.ceil(training.epochs * n / training.batch_size)) for n in sizes]
    return [sum(steps)] if joint else steps


def _budget(strategy: Any, name: str) -> Any:
    from simo_cl.training.step_budget import StepBudget

    for plugin in strategy.plugins:
        if isinstance(plugin, StepBudget):
            return plugin
    raise ValueError(
        f"strategy {name!r} has no step budget; put setup.budget() among its plugins, so that it "
        "gets as many steps as the others"
    )


def _images_forwarded(model: torch.nn.Module) -> int:
    from simo_cl.models import Encoder

    return sum(m.images_forwarded for m in model.modules() if isinstance(m, Encoder))


def _seed_everything(seed: int, experience: int) -> None:
    """Avalanche draws from the global generators: each experience begins at a known place."""
    sequence = np.random.SeedSequence([seed, experience])
    torch_seed, numpy_seed, python_seed = (int(word) for word in sequence.generate_state(3))
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)  # noqa: NPY002
    random.seed(python_seed)


def _sampled_embeddings(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for part, embedded in sample.items():
        arrays[f"{part}_labels"] = embedded.labels.numpy()
        for space, points in embedded.spaces.items():
            arrays[f"{part}_{space}"] = points.numpy().astype(np.float16)
    return arrays


class _Stopwatch:
    seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._started
