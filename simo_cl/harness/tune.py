"""Choose a strategy's settings on held-out training data."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.earlier_results import belonging, refuse_to_replace
from simo_cl.harness.execute_suite import execute_runs, refuse_other_data
from simo_cl.harness.plan import (
    TUNING_SEED,
    PlannedRun,
    plan_runs,
    points_of,
    refuse_seeds_of_tuning,
    strategy_of,
)
from simo_cl.harness.precision import precision_of, slowness_of
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import Suite
from simo_cl.harness.strategy_files import StrategyFile, load_strategy
from simo_cl.harness.suite_file import Locations, SuiteError, SuiteFile, as_yaml
from simo_cl.harness.suite_lock import suite_lock
from simo_cl.models import Precision
from simo_cl.results import RunFolder, write_atomically

VALIDATION_SHARE = 0.1
TRIALS = 12  # by default


@dataclass(frozen=True)
class Trial:
    """One point of a search space and what it scored.

    Attributes:
        point: the settings tried.
        seeds: that were asked for, the same for all trials.
        by_seed: the final average accuracy on the validation split of each of its runs, those of
            earlier commands' seeds included; NaN if the run failed.
        folders: of these runs, relative to that of all trials.
    """

    point: dict[str, Any]
    seeds: tuple[int, ...]
    by_seed: dict[int, float]
    folders: list[Path]

    @property
    def average_accuracy(self) -> float:
        """The mean over the seeds that were asked for; NaN if one of these runs failed, or there is
        none of a trial that was not asked for."""
        return sum(self.by_seed.get(seed, math.nan) for seed in self.seeds) / len(self.seeds)


@dataclass(frozen=True)
class Trials:
    """What was tried for one entry of a suite.

    Attributes:
        entry: its name.
        given: the settings that it has in the suite.
        file: of its strategy.
        budget: the settings that all share.
        ranked: the trials that were asked for, best first.
        earlier: others that have finished before with the same settings.
        path: of the file that has all of them.
    """

    entry: str
    given: dict[str, Any]
    file: StrategyFile
    budget: dict[str, Any]
    ranked: list[Trial]
    earlier: list[Trial]
    path: Path

    @property
    def best(self) -> Trial | None:
        first = self.ranked[0]
        return None if math.isnan(first.average_accuracy) else first

    @property
    def edges(self) -> dict[str, str]:
        """The axes at whose end the best trial lies, with the end: smallest or largest. An axis of
        fewer than three numbers is all ends, and left out."""
        if self.best is None:
            return {}
        ends = {
            axis: {min(values): "smallest", max(values): "largest"}
            for axis, values in self.file.search_space.items()
            if len(values) >= 3 and all(type(value) in (int, float) for value in values)
        }
        point = self.best.point
        return {axis: end[point[axis]] for axis, end in ends.items() if point[axis] in end}

    def best_as_yaml(self) -> str:
        """The line for a suite's ``strategies``."""
        assert self.best is not None
        return f"{self.entry}: {as_yaml({**self.given, **self.best.point})}"


def run_trials(
    suite_file: SuiteFile,
    entry: str,
    strategies: Path,
    trials: int | None,
    folder: Path,
    *,
    device: torch.device,
    data_root: Path | None,
    progress: SuiteProgress,
    seeds: int,
    plugins: str = "none",
    command: str = "",
    replace: bool = False,
) -> Trials:
    """Tries different points of a strategy's search space, drawn so that each axis is covered
    evenly, and writes ``<entry>.json``.

    Each trains on nine tenths of the training images and is scored by its final average accuracy on
    the last tenth, with seeds that no table reports. Trials that finished earlier are not run
    again, and those of a smaller number are among those of a larger one.

    Args:
        suite_file: gives all settings that are not searched; its grid takes no part.
        entry: of the suite's strategies, or a strategy that it has not, with its defaults.
        strategies: folder with the strategy files.
        trials: how many points; None for TRIALS, or all that the space has.
        folder: for the file and the trials' run folders.
        data_root: where the data lie.
        device, progress: as in :func:`execute_runs`.
        seeds: how many of each trial; it is scored by their mean, whatever others were tried.
        plugins: as in :func:`plan_runs`.
        command: of this process, for another that would tune the same and waits.
        replace: whether the file may lose trials with other settings.

    Raises:
        SuiteError: fewer points than trials, a suite that reports the tuning seed, one that
            :func:`plan_runs` or :func:`checked_data` refuses, or finished trials with other
            settings.
        DataError: the data cannot be had, or earlier trials are of others.
    """
    suite, locations = suite_file.suite, suite_file.locations
    refuse_seeds_of_tuning(suite.seeds, locations.of("seeds"))
    if entry not in suite.strategies:
        locations = locations.moved(("strategies", entry), "--strategy")
    where = locations.of("strategies", entry, "strategy")
    file = load_strategy(strategy_of(suite, entry, locations), strategies, where)
    if not file.search_space:
        raise SuiteError(
            f"{file.path} has no SEARCH_SPACE to draw trials from; it maps settings to lists of "
            'values, as SEARCH_SPACE = {"lr": [1e-3, 3e-3]}'
        )
    points = points_of(file.search_space)
    trials = min(TRIALS, len(points)) if trials is None else trials
    if trials > len(points):
        raise SuiteError(
            f"--trials is {trials}; the search space of {entry!r} has {len(points)} points, so "
            f"it must be from 1 to {len(points)}"
        )
    chosen = sorted(_evenly(points, trials))
    planned = _plan(suite, entry, file, locations, precision_of(device), plugins, seeds)
    runs = [run for index, run in enumerate(planned) if index % len(points) in chosen]
    data = checked_data(runs, data_root)
    if slowness := slowness_of(runs[0].settings.model.precision, device):
        progress.warn(slowness)
    path = folder / f"{entry}.json"
    with suite_lock(folder / f"{entry}.lock", command, progress.tell):
        kept = belonging(planned, runs, folder)
        if not replace:
            listed = _listed(path)
            refuse_to_replace(planned, kept, folder, listed, str(path))
            if path.exists() and not any((folder / run).is_dir() for run in listed):
                raise SuiteError(
                    f"{path} has trials whose run folders are not in {folder}; these trials would "
                    "take their place. Nothing was changed. To keep both apart: --results DIR. To "
                    "replace them: --replace"
                )
        refuse_other_data(runs, folder, data)
        execute_runs(runs, folder, data=data, device=device, progress=progress)
        trials_by_point = _trials(points, planned, kept, runs, folder)
        found = Trials(
            entry,
            suite.strategies.get(entry, {}),
            file,
            budget=runs[0].settings.model_dump(mode="json", exclude={"settings"}),
            ranked=_ranked([trials_by_point[index] for index in chosen]),
            earlier=[
                trial
                for index, trial in enumerate(trials_by_point)
                if index not in chosen and trial.by_seed
            ],
            path=path,
        )
        # Before the lock is free: what another command at the same entry finishes comes to it.
        _write(found)
    return found


def _trials(
    points: Sequence[dict[str, Any]],
    planned: Sequence[PlannedRun],
    kept: Sequence[PlannedRun],
    asked_for: Sequence[PlannedRun],
    folder: Path,
) -> list[Trial]:
    """The trial of each point, with the runs that were asked for and others that have finished."""
    folders = {run.folder for run in asked_for}
    seeds = tuple(dict.fromkeys(run.settings.seed for run in asked_for))
    trials = []
    # The runs of the first seed are in the order of the points.
    for point, of_point in zip(points, planned, strict=False):
        scored = [
            (run, score)
            for run in kept
            if run.variant == of_point.variant
            and (not math.isnan(score := _score(run, folder)) or run.folder in folders)
        ]
        by_seed = {run.settings.seed: score for run, score in scored}
        trials.append(Trial(point, seeds, by_seed, [run.folder for run, _ in scored]))
    return trials


def _write(trials: Trials) -> None:
    """Writes all trials, earlier ones with the same settings included, with the search space and
    the settings that they share.

    Scores have their seed; ``seeds`` are those that ``average_accuracy`` is over.
    """
    ranked = _ranked([*trials.ranked, *trials.earlier])
    content = {
        "entry": trials.entry,
        "strategy": trials.file.name,
        "search_space": trials.file.search_space,
        "edges": trials.edges,
        "seeds": trials.ranked[0].seeds,
        "trials": [
            {
                **trial.point,
                "average_accuracy": _or_none(trial.average_accuracy),
                "by_seed": {seed: _or_none(score) for seed, score in trial.by_seed.items()},
            }
            for trial in ranked
        ],
        "folders": [run.as_posix() for trial in ranked for run in trial.folders],
        "run": trials.budget,
    }
    write_atomically(trials.path, json.dumps(content, indent=1) + "\n")


def trials_table(trials: Trials) -> Table:
    """The trials for the terminal, best first."""
    table = Table(title=f"{trials.entry}: average accuracy on the validation split")
    names = list(trials.file.search_space)
    for name in [*names, "average accuracy"]:
        table.add_column(name, justify="right")
    for trial in trials.ranked:
        score = trial.average_accuracy
        shown = "failed" if math.isnan(score) else f"{score:.4f}"
        table.add_row(*(f"{trial.point[name]}" for name in names), shown)
    return table


def _or_none(score: float) -> float | None:
    return None if math.isnan(score) else score


def _listed(path: Path) -> set[str]:
    """The run folders of the trials that an entry's file has now; all there are of a file that
    does not say."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return set(json.loads(path.read_text(encoding="utf-8"))["folders"])
    folder, entry = path.parent, path.stem
    return {
        run.relative_to(folder).as_posix()
        for pattern in (f"runs/{entry}/*", f"runs/{entry}@*/*")
        for run in (folder.glob(pattern) if path.exists() else ())
    }


def _ranked(trials: list[Trial]) -> list[Trial]:
    """Best first, failed ones last."""
    return sorted(trials, key=lambda trial: np.nan_to_num(-trial.average_accuracy, nan=math.inf))


def _score(run: PlannedRun, folder: Path) -> float:
    run_folder = RunFolder(folder / run.folder)
    if run_folder.state != "finished":
        return math.nan
    return run_folder.last_metrics()["average_accuracy"]


def _evenly(points: list[dict[str, Any]], count: int) -> list[int]:
    """Indices of so many points, on each axis equally often at each value as far as can be.

    One after another, the point whose values stand in the fewest of those before, each axis
    weighed by its number of values; of several, the first in a random order.
    """
    left = np.random.default_rng(TUNING_SEED).permutation(len(points)).tolist()
    values = [[(axis, repr(value)) for axis, value in point.items()] for point in points]
    sizes = Counter(axis for axis, _ in set(itertools.chain(*values)))
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for _ in range(count):
        index = min(left, key=lambda i: sum(taken[item] * sizes[item[0]] for item in values[i]))
        left.remove(index)
        taken.update(values[index])
        chosen.append(index)
    return chosen


def _plan(
    suite: Suite,
    entry: str,
    file: StrategyFile,
    locations: Locations,
    auto: Precision,
    plugins: str,
    seeds: int,
) -> list[PlannedRun]:
    """A run for each seed and each point of the search space, these in the order of
    :func:`points_of`."""
    for key in file.search_space:
        locations = locations.moved(("grid", f"{entry}@{key}"), f"{file.path}: SEARCH_SPACE")
    held_out = {"validation": VALIDATION_SHARE, "evaluate_on": "validation"}
    trials = suite.model_copy(
        update={
            "stream": suite.stream.model_copy(update=held_out),
            "seeds": tuple(range(TUNING_SEED, TUNING_SEED + seeds)),
            "control": None,
            "strategies": {entry: suite.strategies.get(entry, {})},
            "grid": {f"{entry}@{key}": list(of) for key, of in file.search_space.items()},
        }
    )
    return plan_runs(trials, file.path.parent, locations, auto, plugins)
