"""What a run of a suite spends on its metrics and on MLflow, beside its training."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import torch
from _runs import finish
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from threadpoolctl import threadpool_limits

from simo_cl.harness.execute_run import first_rows, make_benchmark
from simo_cl.harness.execute_suite import write_plan
from simo_cl.harness.plan import PlannedRun, plan_runs
from simo_cl.harness.precision import precision_of
from simo_cl.harness.setup import Setup
from simo_cl.harness.strategy_files import strategies_folder
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import RunFolder
from simo_cl.streams import DataSet
from simo_cl.tracking.mirror import mirror

_STRATEGY = "simo"


def evaluation_cost(
    suite: Path, data: DataSet, device: str, share_of_steps: float
) -> dict[str, float]:
    """Seconds of one run of the strategy with most metrics, which has two spaces.

    Args:
        suite: a suite file.
        data: that it runs on.
        device: to train on.
        share_of_steps: how much of the training is really done. What an experience's evaluation
            takes does not depend on it.

    Returns:
        Of the whole training, extrapolated; of evaluating accuracy alone, as Avalanche does; of all
        metrics on top of that; and of showing the run in MLflow.

    Raises:
        RuntimeError: the run failed.
        TrackingError: MLflow did.
    """
    file = read_suite(suite)
    epochs = file.suite.training.epochs
    training = file.suite.training.model_copy(update={"epochs": epochs * share_of_steps})
    content = file.suite.model_copy(
        update={
            "training": training,
            "seeds": (0,),
            "control": None,
            "strategies": {_STRATEGY: file.suite.strategies[_STRATEGY]},
        }
    )
    auto = precision_of(torch.device(device))
    (run,) = plan_runs(content, strategies_folder(suite, None), file.places, auto)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_plan(folder, content, [run], command="", data=data)
        store = f"sqlite:///{folder / 'mlflow.db'}"
        mirror(folder, store)  # makes the store, once a suite
        finish([run], folder, data=data, device=torch.device(device))
        started = time.perf_counter()
        mirror(folder, store)
        logging = time.perf_counter() - started
        measured = RunFolder(folder / run.folder).last_metrics()
    experiences = run.settings.stream.experiences
    images = len(data.train) / experiences
    steps = experiences * math.ceil(epochs * images / training.batch_size)
    accuracy = experiences * _seconds_of_accuracy(run, data, torch.device(device))
    return {
        "training": measured["cost/train_seconds"] / measured["cost/steps"] * steps,
        "accuracy on the test images alone": accuracy,
        "all metrics on top": measured["cost/evaluate_seconds"] - accuracy,
        "MLflow": logging,
    }


def _seconds_of_accuracy(run: PlannedRun, data: DataSet, device: torch.device) -> float:
    """Of Avalanche's evaluation on the test stream with its accuracy alone, as many threads as the
    run has."""
    settings = run.settings
    benchmark = make_benchmark(data, settings.stream, settings.training, 0, False, device)
    setup = Setup(settings, data, device, [1], first_rows=first_rows(benchmark))
    accuracy = EvaluationPlugin(accuracy_metrics(experience=True, stream=True))
    strategy = Naive(**setup.stock_arguments(setup.classifier(), 0.1) | {"evaluator": accuracy})
    torch.set_num_threads(settings.training.threads)
    with threadpool_limits(settings.training.threads):
        strategy.eval(benchmark.test_stream[:1])
        started = time.perf_counter()
        strategy.eval(benchmark.test_stream)
        # Accuracies are numbers on the host: nothing is left to wait for.
        return time.perf_counter() - started
