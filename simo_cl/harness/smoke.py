"""Whether each strategy of a suite would come through: tried on a few images, in a few steps."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from simo_cl.harness.attempt import attempt
from simo_cl.harness.execute_run import Progress
from simo_cl.harness.plan import PlannedRun
from simo_cl.harness.trial import interrupt, made_small
from simo_cl.streams import DataSet

_STEPS = 2
_SAMPLES = 2  # of each class; read-outs and geometry need no more


def smoke(
    runs: Sequence[PlannedRun],
    data: DataSet,
    device: torch.device,
    tell: Callable[[str], None],
) -> dict[str, str]:
    """Builds, trains, interrupts, resumes and evaluates strategy after strategy.

    Settings are those of the suite but for the number of experiences, steps and samples. Batches
    are as large as in earnest, so that what does not fit into a GPU's memory shows.

    Args:
        runs: of the suite. Of each entry one seed is tried, with so many points of its grid that
            each value is there.
        data: that they would train on.
        device: that they would train on.
        tell: told how each went.

    Returns:
        A run's label to why it failed. Only if one did, the temporary folder of their runs is left.
    """
    folder = Path(tempfile.mkdtemp(prefix="simo-cl-smoke-"))
    problems = {}
    try:
        for run in _with_each_value(runs):
            started = time.perf_counter()
            problem = _try(run, data, device, folder)
            seconds = time.perf_counter() - started
            if problem is None:
                tell(f"   ok  {run.label} ({seconds:.1f} s)")
            else:
                problems[run.label] = problem
                tell(f"fails  {run.label}: {problem}")
    finally:
        if not problems:
            shutil.rmtree(folder)
    tell(f"What failed is left in {folder}" if problems else "All of them work.")
    return problems


def _with_each_value(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    seen: set[tuple[str, str]] = set()
    chosen = []
    for run in runs:
        values = {(run.settings.entry, value) for value in run.variant.split(",")}
        if not values <= seen:
            chosen.append(run)
            seen |= values
    return chosen


def _try(run: PlannedRun, data: DataSet, device: torch.device, folder: Path) -> str | None:
    """Why it fails, if it does."""
    stream = run.settings.stream
    online = stream.protocol == "online"
    enough = _STEPS * stream.batch_size if online else run.settings.training.batch_size
    small, few = made_small(run, data, images=enough, steps=_STEPS, samples=_SAMPLES)
    if run.settings.evaluation.every is not None:
        # Anytime accuracy, where the suite has it, after each of the few batches.
        often = small.settings.evaluation.model_copy(update={"every": 1})
        small = replace(small, settings=small.settings.model_copy(update={"evaluation": often}))
    reasons: list[str | None] = []

    def execute(step: Progress) -> None:
        def listener(kind: str, *content: int) -> None:
            # Its warnings are in its log; some are of so few images.
            if kind == "step":
                step(*content)

        reasons.append(attempt(small, folder, few, device, listener))

    if interrupt(execute):
        execute(lambda taken, total: None)
    return reasons[-1]
