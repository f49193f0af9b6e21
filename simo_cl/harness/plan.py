"""From a suite to the list of its runs."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simo_cl.harness.settings import CommonSettings, RunSettings, Suite
from simo_cl.harness.strategy_files import StrategyFile, load_strategy
from simo_cl.harness.suite_file import SuiteError, explain_validation, nearest, set_key


@dataclass(frozen=True)
class Run:
    """One strategy with one seed."""

    settings: RunSettings
    variant: str
    strategy_file: StrategyFile

    @property
    def label(self) -> str:
        """The strategy, with the grid point in brackets if the suite has a grid."""
        return self.settings.strategy + (f"[{self.variant}]" if self.variant else "")

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.label}, seed {self.settings.seed}"

    @property
    def digest(self) -> str:
        """Of what decides the result: the resolved settings and the strategy's file."""
        content = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256((content + self.strategy_file.digest).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """Relative to the suite's folder."""
        name = self.settings.strategy + (f"@{self.variant}" if self.variant else "")
        return Path("runs") / name / f"seed{self.settings.seed}-{self.digest}"


def plan_runs(suite: Suite, folder: Path, where: str) -> list[Run]:
    """All runs of a suite: every strategy, at every point of the grid, with every seed.

    Args:
        suite: as read.
        folder: with the strategy files.
        where: the suite's file, for messages.

    Raises:
        SuiteError: an unknown strategy, setting, control or grid key, or a wrong value.
    """
    files = {name: load_strategy(name, folder, where) for name in suite.strategies}
    if suite.control is not None and suite.control not in files:
        raise SuiteError(
            f"{where}: control is {suite.control!r}, which is none of the suite's strategies: "
            f"{', '.join(files)}.{nearest(suite.control, list(files))}"
        )
    for key, values in suite.grid.items():
        strategy = key.partition("@")[0] if "@" in key else None
        if strategy is not None and strategy not in files:
            raise SuiteError(
                f"{where}: grid key {key!r}: no strategy {strategy!r} in this suite; it has "
                f"{', '.join(files)}.{nearest(strategy, list(files))}"
            )
        if not values:
            raise SuiteError(f"{where}: grid key {key!r} has no values; give a list")
    # Seed by seed, so that an interrupted suite has compared everything on the seeds it finished.
    return [
        _run(suite, files[name], point, seed, where)
        for seed in suite.seeds
        for name in suite.strategies
        for point in _grid_points(suite, name)
    ]


def _grid_points(suite: Suite, strategy: str) -> list[dict[str, Any]]:
    """The grid's points that concern a strategy: another's own settings are not crossed with it."""
    axes = {
        key: values
        for key, values in suite.grid.items()
        if "@" not in key or key.startswith(f"{strategy}@")
    }
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def _run(suite: Suite, file: StrategyFile, point: dict[str, Any], seed: int, where: str) -> Run:
    content = suite.model_dump(include=set(CommonSettings.model_fields))
    content["strategies"] = {file.name: dict(suite.strategies[file.name])}
    for key, value in point.items():
        set_key(content, key, value)
    own = content.pop("strategies")[file.name]
    settings = file.settings(own, where).model_dump(mode="json")
    try:
        resolved = RunSettings.model_validate(
            {**content, "strategy": file.name, "seed": seed, "settings": settings}
        )
    except ValidationError as error:
        raise SuiteError(explain_validation(error, RunSettings, f"{where}: grid: ")) from None
    variant = ",".join(f"{key.rpartition('@')[2]}={value}" for key, value in point.items())
    return Run(resolved, variant.replace("/", "_"), file)
