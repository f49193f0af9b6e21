"""What a run of a suite spends on its metrics and on MLflow, beside its training."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from simo_cl.harness.execute_suite import execute_runs, write_plan
from simo_cl.harness.plan import Run, plan_runs
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.run_folder import RunFolder
from simo_cl.harness.strategy_files import strategies_folder
from simo_cl.harness.suite_file import read_suite
from simo_cl.models import build_encoder
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
        Of the whole training, extrapolated; of the forward passes over the test images, which
        accuracy itself needs; of all metrics on top of them; and of showing the run in MLflow.

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
    (run,) = plan_runs(content, strategies_folder(suite, None), file.places)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_plan(folder, content, [run], command="", data=data)
        with SuiteProgress(Console(quiet=True)) as progress:
            store = f"sqlite:///{folder / 'mlflow.db'}"
            mirror(folder, store)  # makes the store, once a suite
            outcome = execute_runs(
                [run], folder, data=data, device=torch.device(device), progress=progress
            )
            started = time.perf_counter()
            mirror(folder, store)
            logging = time.perf_counter() - started
        if outcome.failed:
            raise RuntimeError(f"{outcome.failed}")
        measured = RunFolder(folder / run.folder).last_metrics()
    experiences = run.settings.stream.experiences
    images = len(data.train) / experiences
    steps = experiences * math.ceil(epochs * images / training.batch_size)
    passes = experiences * _seconds_of_a_pass(run, data, device)
    return {
        "training": measured["cost/train_seconds"] / measured["cost/steps"] * steps,
        "forward passes over the test images": passes,
        "all metrics on top": measured["cost/evaluate_seconds"] - passes,
        "MLflow": logging,
    }


@torch.no_grad()
def _seconds_of_a_pass(run: Run, data: DataSet, device: str) -> float:
    model = run.settings.model
    encoder = build_encoder(
        model.encoder,
        channels=data.channels,
        width=model.width,
        norm=model.norm,
        precision=model.precision,
    )
    encoder.to(device).eval()
    batches = data.test.images.to(device).split(run.settings.evaluation.batch_size)
    encoder(batches[0].float())
    started = time.perf_counter()
    for images in batches:
        encoder(images.float())
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started
