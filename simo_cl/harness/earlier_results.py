"""What earlier commands have left in a suite's folder, and what may take its place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from simo_cl.harness.plan import PlannedRun, with_seeds
from simo_cl.harness.suite_file import SuiteError
from simo_cl.results import (
    NewerSchemaError,
    ResultsError,
    RunFolder,
    flat_settings,
    read_config,
    read_plan,
    run_label,
)
from simo_cl.wording import count

_SHOWN = 4


def belonging(
    planned: Sequence[PlannedRun], asked_for: Sequence[PlannedRun], folder: Path
) -> list[PlannedRun]:
    """The runs of a suite that a command asks for, or that have begun before with the same
    settings, whatever their seed.

    Args:
        planned: all that the suite's settings give.
        asked_for: of these.
        folder: of the suite.
    """
    asked = {run.folder for run in asked_for}
    seeds = dict.fromkeys([*(run.settings.seed for run in planned), *_seeds_begun(folder)])
    return [
        run
        for run in with_seeds(planned, list(seeds))
        if run.folder in asked or RunFolder(folder / run.folder).state != "missing"
    ]


def listed_in_plan(folder: Path) -> set[str]:
    """The run folders that report and MLflow show now; all there are if the plan is lost."""
    try:
        return {entry.folder for entry in read_plan(folder).runs}
    except NewerSchemaError:
        raise
    except ResultsError:
        return {path.relative_to(folder).as_posix() for path in _run_folders(folder)}


def refuse_to_replace(
    planned: Sequence[PlannedRun],
    kept: Sequence[PlannedRun],
    folder: Path,
    listed: Collection[str],
    shown: str,
    *,
    others_at_work: bool = False,
) -> None:
    """Looks whether finished runs would no longer be shown.

    Args:
        planned: all that the settings now give.
        kept: of these, what will be shown.
        folder: that run folders are relative to.
        listed: the run folders that are shown now.
        shown: where, in words.
        others_at_work: whether other commands are at runs of the folder; what they have begun may
            not leave, either.

    Raises:
        SuiteError: says which would not, which setting differs, and what can be done.
    """
    names = set(listed) - {run.folder.as_posix() for run in kept}
    kinds = ("finished", "running") if others_at_work else ("finished",)
    leaving = [
        path
        for path in _run_folders(folder)
        if path.relative_to(folder).as_posix() in names and RunFolder(path).state in kinds
    ]
    if not leaving:
        return
    by_reason: dict[str, list[str]] = defaultdict(list)
    for path in leaving:
        label, reason = _label_and_difference(path, planned)
        by_reason[reason].append(label)
    lines = [
        f"  {_listed(list(dict.fromkeys(labels)))} ({count(len(labels), 'run')}): {reason}"
        for reason, labels in by_reason.items()
    ]
    raise SuiteError(
        f"{count(len(leaving), 'run')} {' or '.join(kinds)} in {folder} would leave {shown}, where "
        "only runs with the present settings are:\n"
        + "\n".join(lines)
        + "\nNothing was changed. To "
        "keep both apart: --results DIR, or --set name=NAME (in the suite file, another `name`). "
        "To show the present settings alone: --replace; the others stay in their folders, and with "
        "their settings they are shown again, not executed again."
    )


def _seeds_begun(folder: Path) -> list[int]:
    numbers = (path.name.removeprefix("seed").partition("-")[0] for path in _run_folders(folder))
    return sorted({int(number) for number in numbers if number.isdecimal()})


def _run_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("runs/*/seed*-*") if path.is_dir())


def _label_and_difference(path: Path, planned: Sequence[PlannedRun]) -> tuple[str, str]:
    """What a finished run is called, and why the plan has it no more."""
    try:
        config = read_config(path)
        # Entries have had names of their own since there are several of a strategy.
        entry, variant = config.get("entry", config["strategy"]), config["variant"]
    except (ValueError, KeyError):
        return path.name, "its config.yaml cannot be read"
    label = run_label(entry, variant)
    of_entry = [run for run in planned if run.settings.entry == entry]
    if not of_entry:
        return label, "none of the suite's strategies now"
    like_it = [run for run in of_entry if run.variant == variant]
    if not like_it:
        return label, "no point of the suite's grid now"
    run = like_it[0]
    before = _by_set_name(config, entry)
    now = _by_set_name(run.settings.model_dump(mode="json"), entry)
    changed = [
        f"{key} is {before.get(key, 'not set')} there, {now.get(key, 'not set')} here"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    file = run.strategy_file.path
    return label, _listed(changed, "; ") or f"{file} has changed, or a file that it imports"


def _by_set_name(config: Mapping[str, Any], entry: str) -> dict[str, Any]:
    """Settings by the names that ``--set`` has for them, without what names a run."""
    return {
        re.sub("^settings[.]", f"{entry}@", name): value
        for name, value in flat_settings(config).items()
        if "." in name or name in ("numerics", "plugins")
    }


def _listed(items: Sequence[str], between: str = ", ") -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return between.join([*items[:_SHOWN], *more])
