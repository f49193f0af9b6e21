"""What is quickly found to be wrong with a command, before the libraries are imported that take
seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from simo_cl.harness.plan import refuse_unknown_names
from simo_cl.harness.plugins import refuse_missing_plugins, refuse_unknown_part
from simo_cl.harness.strategy_files import setting_names, strategies_folder, strategy_names
from simo_cl.harness.suite_file import Locations, SuiteError, SuiteFile, read_suite
from simo_cl.registry import did_you_mean
from simo_cl.streams import data_source_names

DEVICES = "use auto, cpu, cuda or cuda:<number>"


def read_checked(
    suite: Path,
    overrides: Sequence[str],
    strategies_dir: Path | None,
    data_root: Path | None,
    *,
    plugins: Path | None,
    device: str,
) -> tuple[SuiteFile, Path]:
    """The suite, with what ``overrides`` change, and the folder of its strategy files.

    Args:
        plugins: a user's file, which is not imported yet and may register data sources.
        device: what ``--device`` is.

    Raises:
        SuiteError: a file cannot be read, or something is named that there is not.
    """
    folder = strategies_folder(suite, strategies_dir)
    file = read_suite(suite, overrides, partial(setting_names, folder))
    refuse_unknown_names(file.suite, folder, file.locations)
    refuse_missing_root(data_root)
    refuse_other_device(device)
    if plugins is not None:
        refuse_missing_plugins(plugins)
    else:
        refuse_unknown_data(file.suite.data.name, file.locations)
    return file, folder


def refuse_missing_root(data_root: Path | None) -> None:
    """Raises a :class:`SuiteError` where ``--data-root`` names no folder."""
    if data_root is not None and not data_root.is_dir():
        raise SuiteError(
            f"--data-root {data_root}: there is no folder {data_root.absolute()}; name the one "
            "that your data lie in"
        )


def refuse_other_device(name: str) -> None:
    """Raises a :class:`SuiteError` for what is no word of ``--device``; whether there is such a
    device, :func:`simo_cl.harness.environment.choose_device` looks."""
    if not re.fullmatch(r"auto|(cpu|cuda)(:[0-9]+)?", name):
        raise SuiteError(f"--device: device {name!r} is none that runs are for; {DEVICES}")


def refuse_unknown_entry(name: str, file: SuiteFile, folder: Path) -> None:
    """Raises a :class:`SuiteError` for what is neither an entry of a suite nor a strategy of the
    folder, which ``--strategy`` takes with its defaults."""
    entries, others = list(file.suite.strategies), strategy_names(folder)
    if name not in entries and name not in others:
        raise SuiteError(
            f"--strategy: {name!r} is no entry of {file.locations.path}, which has "
            f"{', '.join(entries)}, and no strategy in {folder}."
            f"{did_you_mean(name, entries) or did_you_mean(name, others)}"
        )


def refuse_unknown_data(name: str, locations: Locations) -> None:
    """Raises a :class:`SuiteError` for what is no data source's name."""
    refuse_unknown_part(locations, "data.name", name, "data set", data_source_names())
