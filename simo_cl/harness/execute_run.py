"""Train and evaluate one run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.scenarios import split_online_stream
from avalanche.training.templates import BaseSGDTemplate

from simo_cl.harness.embed import in_half_precision
from simo_cl.harness.environment import compute_deterministically, describe_environment
from simo_cl.harness.export import export_model
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.settings import RunSettings
from simo_cl.harness.setup import Setup
from simo_cl.harness.suite_file import SuiteError
from simo_cl.models import Encoder, evaluating
from simo_cl.results import DataRecord, RunFolder
from simo_cl.streams import DataSet
from simo_cl.streams.class_incremental import class_incremental
from simo_cl.training.avalanche_state import NotResumableError
from simo_cl.training.fitting_batches import FittingBatches
from simo_cl.training.generators import seed_global_generators
from simo_cl.training.online_batches import batch_ends, small_experiences
from simo_cl.training.online_replay import OnlineReplayPlugin
from simo_cl.training.step_budget import StepBudget

Progress = Callable[[int, int], None]
"""Told (steps taken, steps in all)."""


def execute_run(
    run: PlannedRun, data: DataSet, folder: RunFolder, device: torch.device, progress: Progress
) -> None:
    """Trains on each experience in turn and writes what is measured after each.

    A run that was interrupted goes on from its last checkpoint.

    Raises:
        DataError: the run began on other data.
        Exception: whatever the run failed with; the folder holds what was measured before.
    """
    # Takes a second, which commands that execute nothing need not wait.
    from simo_cl.harness.evaluation import Evaluation
    from simo_cl.harness.resume import Resumption, load_state

    settings, file = run.settings, run.strategy_file
    torch.set_num_threads(settings.training.threads)
    compute_deterministically(device)
    environment = describe_environment(device, settings.training.threads)
    saved = load_state(run, data, folder)
    if saved is not None:
        _note_change(folder.environment, environment)
    lines = [] if saved is None else saved["lines"]
    folder.start(run.config, DataRecord.of(data), environment, lines)
    benchmark = make_benchmark(data, settings, run.joint, device)
    steps = steps_of_experiences(benchmark, settings, run.joint)
    setup = Setup(
        settings,
        data,
        device,
        steps,
        lambda taken: progress(taken, sum(steps)),
        first_rows(benchmark),
    )
    seed_global_generators(settings.seed, 0)
    strategy = file.module.build(setup, file.settings(settings.settings, run.locations))
    if not isinstance(strategy, BaseSGDTemplate):
        raise SuiteError(
            f"build() of {file.path} gave a {type(strategy).__name__}; it must give an Avalanche "
            "strategy (as Naive(...))"
        )
    budget = _budget(strategy, file.name)
    strategy.model.to(device)
    benchmark = _of_features(benchmark, run, data, strategy, device)
    strategy.plugins.append(FittingBatches())
    evaluation = Evaluation(run, benchmark, strategy, budget)
    resumption = Resumption(run, data, folder, strategy, budget, evaluation)
    if saved is None:
        first, first_part = 0, 0
        folder.log(f"{run.label}, seed {settings.seed}, {steps} steps on {device}")
        evaluation.before_training()
    else:
        try:
            first, first_part = resumption.restore(saved, benchmark.train_stream[0].dataset)
        except NotResumableError as error:
            warnings.warn(
                f"the run begins anew, its checkpoint cannot be used: {error}", stacklevel=2
            )
            resumption.forget()
            execute_run(run, data, folder, device, progress)
            return
        folder.log(f"goes on in experience {first}, after {budget.steps_taken} steps")
    for index, experience in enumerate(benchmark.train_stream):
        if index < first:
            continue
        seed_global_generators(settings.seed, index + 1)
        for number, part in enumerate(_parts(strategy, experience, settings)):
            if index > first or number >= first_part:
                resumption.between(index, number)
                strategy.train(part, eval_streams=[], drop_last=settings.stream.protocol == "batch")
        metrics = evaluation.after_experience(experience)
        metrics |= {
            "train/loss": budget.mean_loss,
            "cost/steps": float(budget.steps_taken),
            "cost/images": float(_images_forwarded(strategy.model)),
            "cost/train_seconds": budget.seconds,
            "cost/evaluate_seconds": evaluation.seconds,
        }
        folder.add_metrics(index, metrics)
        folder.log(f"experience {index}: average accuracy {metrics['average_accuracy']:.4f}")
        folder.write_arrays("arrays", evaluation.arrays())
    resumption.between(len(benchmark.train_stream))
    folder.write_arrays("arrays", evaluation.arrays())
    folder.write_arrays("embeddings", _sampled_embeddings(evaluation.sample))
    folder.write_arrays("snapshots", evaluation.snapshots.arrays())
    export_model(strategy.model, evaluation.layers, data, folder)
    folder.finish()
    resumption.forget()


def _parts(strategy: Any, experience: Any, settings: RunSettings) -> Iterable[Any]:
    """The experience; online, one small experience a batch where the strategy's memory changes
    between experiences alone."""
    stream = settings.stream
    ours = any(isinstance(plugin, OnlineReplayPlugin) for plugin in strategy.plugins)
    if stream.protocol == "batch" or ours:
        return [experience]
    return split_online_stream(
        [experience],
        stream.batch_size,
        experience_split_strategy=lambda whole, size: small_experiences(whole, size, settings.seed),
    )


def _note_change(before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        what = ", ".join(f"{name} from {before[name]} to {now[name]}" for name in changed)
        warnings.warn(
            f"the run goes on where something has changed ({what}); its results may differ from "
            "those of an undisturbed run",
            stacklevel=2,
        )


def make_benchmark(
    data: DataSet,
    settings: RunSettings,
    joint: bool,
    device: torch.device,
    encoder: torch.nn.Module | None = None,
) -> Any:
    """The class-incremental benchmark of a run; a joint one has a single training experience."""
    stream = settings.stream
    order: Sequence[int] | None
    if stream.class_order == "natural":
        order = range(data.num_classes)
    else:
        order = None if stream.class_order == "seeded" else stream.class_order
    return class_incremental(
        data,
        experiences=stream.experiences,
        class_order=order,
        seed=settings.seed,
        validation=stream.validation,
        augment=settings.training.augment,
        joint=joint,
        encoder=encoder,
        device=device,
    )


def _of_features(
    benchmark: Any, run: PlannedRun, data: DataSet, strategy: Any, device: torch.device
) -> Any:
    """The benchmark with a frozen encoder's features for images, where they stay the same."""
    settings, file = run.settings, run.strategy_file
    encoder = dict(strategy.model.named_modules()).get(file.feature_layer)
    if not isinstance(encoder, Encoder) or not encoder.frozen:
        return benchmark
    if settings.training.augment or file.augments:
        return benchmark
    with evaluating(encoder):
        return make_benchmark(data, settings, run.joint, device, encoder)


def first_rows(benchmark: Any) -> torch.Tensor:
    """Rows of the training images of the first experience's classes; a joint run has the same."""
    dataset = benchmark.train_stream[0].dataset
    classes = list(benchmark.test_stream[0].classes_in_this_experience)
    return torch.from_numpy(dataset.rows[np.isin(dataset.labels, classes)])


def steps_of_experiences(benchmark: Any, settings: RunSettings, joint: bool) -> list[int]:
    """Optimizer steps of each experience; joint training gets all of them in one."""
    labels = np.concatenate([list(e.dataset.targets) for e in benchmark.train_stream])
    parts = [list(e.classes_in_this_experience) for e in benchmark.test_stream]
    sizes = [int(np.isin(labels, part).sum()) for part in parts]
    stream, training = settings.stream, settings.training
    if stream.protocol == "online":
        sizes = [sum(sizes)] if joint else sizes
        steps = [len(batch_ends(n, stream.batch_size)) * stream.updates_per_batch for n in sizes]
    else:
        steps = [training.steps(n) for n in sizes]
    return [sum(steps)] if joint else steps


def _budget(strategy: Any, name: str) -> StepBudget:
    for plugin in strategy.plugins:
        if isinstance(plugin, StepBudget):
            return plugin
    raise ValueError(
        f"strategy {name!r} has no step budget; put setup.budget() among its plugins, so that it "
        "gets as many steps as the others"
    )


def _images_forwarded(model: torch.nn.Module) -> int:
    return sum(m.images_forwarded for m in model.modules() if isinstance(m, Encoder))


def _sampled_embeddings(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = {}
    for part, embedded in sample.items():
        arrays[f"{part}_labels"] = embedded.labels.numpy()
        for space, points in embedded.spaces.items():
            arrays[f"{part}_{space}"] = in_half_precision(points)
    return arrays
