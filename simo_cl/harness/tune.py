"""Choose a strategy's settings on held-out training data."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.table import Table

from simo_cl.harness.checked_data import checked_data
from simo_cl.harness.earlier_results import refuse_to_replace
from simo_cl.harness.execute_suite import execute_runs, refuse_other_data
from simo_cl.harness.plan import TUNING_SEED, PlannedRun, plan_runs, strategy_of
from simo_cl.harness.precision import precision_of, slowness_of
from simo_cl.harness.progress import SuiteProgress
from simo_cl.harness.settings import Suite
from simo_cl.harness.strategy_files import StrategyFile, load_strategy
from simo_cl.harness.suite_file import Places, SuiteError, SuiteFile
from simo_cl.harness.suite_lock import suite_lock
from simo_cl.models import Precision
from simo_cl.results import RunFolder, write_atomically

VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Trial:
    """One point of a search space and what it scored.

    Attributes:
        point: the settings tried.
        folder: of its run, relative to that of all trials.
        average_accuracy: final, on the validation split; NaN if the run failed.
    """

    point: dict[str, Any]
    folder: Path
    average_accuracy: float


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
    """

    entry: str
    given: dict[str, Any]
    file: StrategyFile
    budget: dict[str, Any]
    ranked: list[Trial]
    earlier: list[Trial]

    @property
    def best(self) -> Trial | None:
        first = self.ranked[0]
        return None if math.isnan(first.average_accuracy) else first

    def best_as_yaml(self) -> str:
        """The line for a suite's ``strategies``."""
        assert self.best is not None
        settings = {**self.given, **self.best.point}
        text = yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=math.inf)
        return f"{self.entry}: {text.strip()}"


def run_trials(
    suite_file: SuiteFile,
    entry: str,
    strategies: Path,
    trials: int,
    folder: Path,
    *,
    device: torch.device,
    data_root: Path | None,
    progress: SuiteProgress,
    plugins: str = "none",
    command: str = "",
    replace: bool = False,
) -> Trials:
    """Tries different points of a strategy's search space, drawn uniformly.

    Each trains on nine tenths of the training images and is scored by its final average accuracy on
    the last tenth, with a seed that no table reports. Trials that finished earlier are not run
    again.

    Args:
        suite_file: gives all settings that are not searched; its grid takes no part.
        entry: of the suite's strategies, or a strategy that it has not, with its defaults.
        strategies: folder with the strategy files.
        trials: how many points.
        folder: for the trials' run folders.
        data_root: where the data lie.
        device, progress: as in :func:`execute_runs`.
        plugins: as in :func:`plan_runs`.
        command: of this process, for another that would tune the same and waits.
        replace: whether the file of :func:`write_trials` may lose trials with other settings.

    Raises:
        SuiteError: fewer points than trials, a suite that reports the tuning seed, one that
            :func:`plan_runs` or :func:`checked_data` refuses, or finished trials with other
            settings.
        DataError: the data cannot be had, or earlier trials are of others.
    """
    suite, places = suite_file.suite, suite_file.places
    if TUNING_SEED in suite.seeds:
        raise SuiteError(
            f"{places.of('seeds')}: seeds has {TUNING_SEED}, which is the seed of "
            "tuning and never reported; choose another"
        )
    if entry not in suite.strategies:
        places = places.moved(("strategies", entry), "--strategy")
    where = places.of("strategies", entry, "strategy")
    file = load_strategy(strategy_of(suite, entry, places), strategies, where)
    if not file.search_space:
        raise SuiteError(
            f"{file.path} has no SEARCH_SPACE to draw trials from; it maps settings to lists of "
            'values, as SEARCH_SPACE = {"lr": [1e-3, 3e-3]}'
        )
    points = _points(file.search_space)
    if trials > len(points):
        raise SuiteError(
            f"--trials is {trials}; the search space of {entry!r} has {len(points)} points, so "
            f"it must be from 1 to {len(points)}"
        )
    chosen = np.random.default_rng(TUNING_SEED).permutation(len(points))[:trials]
    planned = _plan(suite, entry, file, places, precision_of(device), plugins)
    runs = [planned[index] for index in sorted(chosen)]
    data = checked_data(runs, data_root)
    if slowness := slowness_of(runs[0].settings.model.precision, device):
        progress.warn(slowness)
    with suite_lock(folder / f"{entry}.lock", command, progress.tell):
        if not replace:
            listed, shown = _listed(folder, entry), str(folder / _file_name(entry))
            refuse_to_replace(planned, planned, folder, listed, shown)
        refuse_other_data(runs, folder, data)
        execute_runs(runs, folder, data=data, device=device, progress=progress)
    tried, earlier = [], []
    for index, (point, run) in enumerate(zip(points, planned, strict=True)):
        trial = Trial(point, run.folder, _score(run, folder))
        if index in chosen:
            tried.append(trial)
        elif not math.isnan(trial.average_accuracy):
            earlier.append(trial)
    budget = runs[0].settings.model_dump(mode="json", exclude={"settings"})
    given = suite.strategies.get(entry, {})
    return Trials(entry, given, file, budget, _ranked(tried), earlier)


def write_trials(folder: Path, trials: Trials) -> Path:
    """Writes all trials, earlier ones with the same settings included, with the search space and
    the settings that they share, as ``<entry>.json``; gives its path."""
    ranked = _ranked([*trials.ranked, *trials.earlier])
    content = {
        "entry": trials.entry,
        "strategy": trials.file.name,
        "search_space": trials.file.search_space,
        "trials": [
            {
                **trial.point,
                "average_accuracy": None
                if math.isnan(trial.average_accuracy)
                else trial.average_accuracy,
            }
            for trial in ranked
        ],
        "folders": [trial.folder.as_posix() for trial in ranked],
        "run": trials.budget,
    }
    path = folder / _file_name(trials.entry)
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path


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


def _file_name(entry: str) -> str:
    return f"{entry}.json"


def _listed(folder: Path, entry: str) -> set[str]:
    """The run folders of the trials that the entry's file has now; all there are of a file that
    does not say."""
    path = folder / _file_name(entry)
    with suppress(OSError, ValueError, KeyError, TypeError):
        return set(json.loads(path.read_text(encoding="utf-8"))["folders"])
    return {
        run.relative_to(folder).as_posix()
        for pattern in (f"runs/{entry}/*", f"runs/{entry}@*/*")
        for run in (folder.glob(pattern) if path.exists() else ())
    }


def _ranked(trials: list[Trial]) -> list[Trial]:
    """Best first, failed ones last."""

    def score(trial: Trial) -> float:
        return -math.inf if math.isnan(trial.average_accuracy) else trial.average_accuracy

    return sorted(trials, key=score, reverse=True)


def _score(run: PlannedRun, folder: Path) -> float:
    run_folder = RunFolder(folder / run.folder)
    if run_folder.state != "finished":
        return math.nan
    return run_folder.last_metrics()["average_accuracy"]


def _points(space: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def _plan(
    suite: Suite,
    entry: str,
    file: StrategyFile,
    places: Places,
    auto: Precision,
    plugins: str,
) -> list[PlannedRun]:
    """A run for each point of the search space, in the order of :func:`_points`."""
    for key in file.search_space:
        places = places.moved(("grid", f"{entry}@{key}"), f"{file.path}: SEARCH_SPACE")
    held_out = {"validation": VALIDATION_SHARE, "evaluate_on": "validation"}
    trials = suite.model_copy(
        update={
            "stream": suite.stream.model_copy(update=held_out),
            "seeds": (TUNING_SEED,),
            "control": None,
            "strategies": {entry: suite.strategies.get(entry, {})},
            "grid": {f"{entry}@{key}": list(of) for key, of in file.search_space.items()},
        }
    )
    return plan_runs(trials, file.path.parent, places, auto, plugins)
