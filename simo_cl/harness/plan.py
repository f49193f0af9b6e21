"""From a suite to the list of its runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from simo_cl.harness.settings import CommonSettings, RunSettings, Suite
from simo_cl.harness.strategy_files import (
    StrategyFile,
    load_strategy,
    strategy_path,
)
from simo_cl.harness.suite_file import (
    Locations,
    SuiteError,
    explain_validation,
    key_path,
    set_key,
)
from simo_cl.registry import did_you_mean
from simo_cl.results import run_folder_name, run_label

if TYPE_CHECKING:
    from simo_cl.models import Precision

TUNING_SEED = 1_000_000
"""The first of the trials of ``tune``: no table reports this seed and those from it on."""


@dataclass(frozen=True)
class PlannedRun:
    """One entry of a suite's strategies with one seed.

    Attributes:
        settings: resolved.
        variant: the grid point, as ``memory.size=200``.
        strategy_file: that builds the strategy.
        locations: where the settings were given, for messages.
        checkpoint_minutes: between two checkpoints within an experience.
    """

    settings: RunSettings
    variant: str
    strategy_file: StrategyFile
    locations: Locations = field(compare=False, repr=False)
    checkpoint_minutes: float = field(default=10.0, compare=False)

    @property
    def label(self) -> str:
        """The entry, with the grid point in brackets if the suite has a grid."""
        return run_label(self.settings.entry, self.variant)

    @property
    def joint(self) -> bool:
        """Whether it trains on all classes in one experience."""
        return self.strategy_file.joint or bool(self.settings.settings.get("joint", False))

    @property
    def name(self) -> str:
        """For messages."""
        trial = self.settings.seed - TUNING_SEED
        return f"{self.label}, " + (
            f"seed {self.settings.seed}" if trial < 0 else f"trial with seed {trial}"
        )

    @property
    def digest(self) -> str:
        """Of what decides the result: the resolved settings, the files of the strategy and of
        ``--plugins``, and the library's own way to compute."""
        content = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256((content + self.strategy_file.digest).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """Relative to the suite's folder."""
        settings = self.settings
        return run_folder_name(settings.entry, self.variant, settings.seed, self.digest)

    @property
    def config(self) -> dict[str, Any]:
        """What its folder says of it."""
        return {**self.settings.model_dump(mode="json"), "variant": self.variant}


def plan_runs(
    suite: Suite, folder: Path, locations: Locations, auto: Precision, plugins: str = "none"
) -> list[PlannedRun]:
    """All runs of a suite: every entry, at every point of the grid, with every seed.

    Args:
        suite: as read.
        folder: with the strategy files.
        locations: where its settings were given, for messages.
        auto: the precision that ``model.precision: auto`` stands for; see
            :func:`simo_cl.harness.precision.precision_of`.
        plugins: from :func:`simo_cl.harness.plugins.digest_of_plugins`.

    Raises:
        SuiteError: an unknown strategy, setting, control or grid key, or a wrong value.
    """
    refuse_unknown_names(suite, folder, locations)
    files = {
        entry: load_strategy(
            strategy_of(suite, entry, locations),
            folder,
            locations.of("strategies", entry, "strategy"),
        )
        for entry in suite.strategies
    }
    of_one_seed = [
        _run(suite, entry, file, point, locations, auto, plugins)
        for entry, file in files.items()
        for point in _grid_points(suite, entry)
    ]
    # Seed by seed, so that an interrupted suite has compared everything on the seeds it finished.
    return with_seeds(of_one_seed, suite.seeds)


def refuse_unknown_names(suite: Suite, folder: Path, locations: Locations) -> None:
    """Looks for what is quickly found to be wrong, without importing a strategy.

    Args:
        suite: as read.
        folder: with the strategy files.
        locations: where its settings were given, for messages.

    Raises:
        SuiteError: an entry of a strategy that there is not, an unknown control or grid key.
    """
    entries = list(suite.strategies)
    for entry in entries:
        where = locations.of("strategies", entry, "strategy")
        strategy_path(strategy_of(suite, entry, locations), folder, where)
    if suite.control is not None and suite.control not in entries:
        raise locations.complaint(
            "control",
            f"is {suite.control!r}, which is none of the suite's strategies: {', '.join(entries)}."
            f"{did_you_mean(suite.control, entries)}",
        )
    for key, values in suite.grid.items():
        if problem := _problem_of_axis(key, values, entries):
            raise SuiteError(f"{locations.of('grid', key)}: grid key {key!r}{problem}")


def refuse_seeds_of_tuning(seeds: Sequence[int], where: str) -> None:
    """Raises a :class:`SuiteError` where results are asked for with a seed that trials have."""
    if found := [seed for seed in seeds if seed >= TUNING_SEED]:
        raise SuiteError(
            f"{where}: seeds has {found[0]}, and those from {TUNING_SEED} on are the seeds of "
            "tuning and never reported; choose another"
        )


def strategy_of(suite: Suite, entry: str, locations: Locations) -> str:
    """The strategy that an entry names, or that it is named after.

    Raises:
        SuiteError: it names something else than a strategy.
    """
    strategy = suite.strategies.get(entry, {}).get("strategy", entry)
    if not isinstance(strategy, str):
        raise SuiteError(
            f"{locations.of('strategies', entry, 'strategy')}: strategies.{entry}.strategy is "
            f"{strategy!r}; it must be the name of a strategy, as {{strategy: simo}}"
        )
    return strategy


def with_seeds(runs: Sequence[PlannedRun], seeds: Sequence[int]) -> list[PlannedRun]:
    """The same strategies at the same points of the grid, with these seeds, seed by seed."""
    of_one_seed = [run for run in runs if run.settings.seed == runs[0].settings.seed]
    return [
        replace(run, settings=run.settings.model_copy(update={"seed": seed}))
        for seed in seeds
        for run in of_one_seed
    ]


def _problem_of_axis(key: str, values: list[Any], entries: list[str]) -> str:
    """Why an axis of the grid names nothing to vary, if so; wrong values show later."""
    entry, at, setting = key.partition("@")
    section, _, of_section = key.partition(".")
    sections = list(CommonSettings.model_fields)
    if at and entry not in entries:
        return (
            f": no strategy {entry!r} in this suite; it has {', '.join(entries)}."
            f"{did_you_mean(entry, entries)}"
        )
    if at and setting == "strategy":
        return ": an entry is of one strategy; write an entry for each"
    if section == "data":
        return ": a suite has one data set; write a suite for each"
    if not at and (section not in sections or not of_section):
        hint = "" if section in sections else did_you_mean(section, sections)
        return (
            ": write strategy@setting, or section.setting with one of the sections "
            f"{', '.join(sections)}.{hint}"
        )
    if not values:
        return " has no values; give a list"
    repeated = [value for value, count in Counter(map(_in_a_name, values)).items() if count > 1]
    return f" names {repeated[0]} twice" if repeated else ""


def _grid_points(suite: Suite, entry: str) -> list[dict[str, Any]]:
    """The grid's points that concern an entry: another's own settings are not crossed with it."""
    axes = {
        key: values
        for key, values in suite.grid.items()
        if "@" not in key or key.startswith(f"{entry}@")
    }
    return points_of(axes)


def points_of(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of the axes' values; the last axis changes first."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _run(
    suite: Suite,
    entry: str,
    file: StrategyFile,
    point: dict[str, Any],
    locations: Locations,
    auto: Precision,
    plugins: str,
) -> PlannedRun:
    content = suite.model_dump(include=set(CommonSettings.model_fields))
    if "epochs" not in suite.training.model_fields_set:
        content["training"].pop("epochs", None)  # The grid may say the budget in the other way.
    content["strategies"] = {entry: dict(suite.strategies[entry])}
    for key, value in point.items():
        set_key(content, key, value, locations.of("grid", key))
        locations = locations.moved(key_path(key), locations.of("grid", key))
    own = content.pop("strategies")[entry]
    own.pop("strategy", None)
    if content["model"]["precision"] == "auto":
        content["model"]["precision"] = auto
    of_strategy = file.settings(own, locations, ("strategies", entry))
    try:
        resolved = RunSettings.model_validate(
            {
                **content,
                "entry": entry,
                "strategy": file.name,
                "seed": suite.seeds[0],
                "settings": of_strategy.model_dump(mode="json"),
                "plugins": plugins,
            }
        )
    except ValidationError as error:
        raise SuiteError(explain_validation(error, RunSettings, locations)) from None
    protocol = resolved.stream.protocol
    if protocol not in file.protocols:
        raise SuiteError(
            f"{locations.of('strategies', entry)}: {file.name} is for the "
            f"{' and '.join(file.protocols)} protocol alone, and stream.protocol is {protocol}"
        )
    try:
        of_strategy.check(resolved)
    except ValueError as error:
        where = locations.of("strategies", entry)
        raise SuiteError(f"{where}: {file.name}: {error}") from None
    variant = ",".join(f"{key.rpartition('@')[2]}={_in_a_name(v)}" for key, v in point.items())
    return PlannedRun(resolved, variant, file, locations, suite.checkpoint_minutes)


def _in_a_name(value: Any) -> str:
    """A grid's value without what separates folders, or the parts of a variant or of a list; such
    characters become ``~`` and their code, so that no two values have the same name."""
    if isinstance(value, list):
        return "+".join(map(_in_a_name, value)) or "none"
    if isinstance(value, dict):
        return "+".join(f"{_in_a_name(k)}:{_in_a_name(v)}" for k, v in value.items()) or "none"
    if not isinstance(value, str):
        return str(value)
    return re.sub(r"[\x00-\x1f/\\,+~\[\]]", lambda found: f"~{ord(found[0]):02X}", value)
