"""What several commands take, and what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simo_cl.registry import did_you_mean


def _suite_file(suite: Path | None) -> Path | None:
    """The file in ``benchmarks`` of a suite that is given by its name; any other as it is."""
    if suite is None or suite.is_file():
        return suite
    named = Path("benchmarks", f"{suite}.yaml")
    return named if named.is_file() else suite


SuiteArgument = Annotated[
    Path,
    typer.Argument(
        help="A suite file, as benchmarks/quickstart.yaml, or the name of one in benchmarks/.",
        callback=_suite_file,
    ),
]
OptionalSuiteArgument = Annotated[
    Path | None,
    typer.Argument(
        help="A suite whose encoder and data are looked at: its file, or the name of one in "
        "benchmarks/.",
        callback=_suite_file,
    ),
]
SuiteOfResultsArgument = Annotated[
    Path,
    typer.Argument(help="A suite file, the suite's name, or the folder of its results."),
]
ResultsOption = Annotated[Path, typer.Option("--results", help="Where suites have their folders.")]
DataRootOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the data. Default: $SIMO_CL_DATA, or ./data."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, as training.epochs=1 or simo@epsilon=0.2. Repeatable."),
]
PluginsOption = Annotated[
    Path | None,
    typer.Option(
        help="A Python file that registers parts of your own; `python -m pydoc simo_cl.register` "
        "says how."
    ),
]
StrategiesDirOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with strategy files. Default: strategies/ beside the suite's folder, or "
        "./strategies."
    ),
]
ReplaceOption = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Show what the present settings give in place of finished runs with others, which "
        "stay in their folders.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        help="MLflow store or server. Default: $MLFLOW_TRACKING_URI, or mlflow.db in the suite's "
        "results."
    ),
]
RESULTS = Path("results")
"""What ``--results`` is without being given."""


def use_plugins(path: Path | None) -> str:
    """Imports the file of ``--plugins``, if one is given, and gives its digest."""
    from simo_cl.harness.plugins import digest_of_plugins, load_plugins

    return digest_of_plugins(None if path is None else load_plugins(path))


def suite_folder(suite: Path, results: Path) -> Path:
    """The folder of a suite's results, for a suite file, the suite's name, or that folder."""
    from simo_cl.harness.suite_file import SuiteError, read_suite
    from simo_cl.results import PLAN

    if (suite / PLAN).is_file():
        return suite
    name = read_suite(suite).suite.name if suite.is_file() else suite.name
    folder = results / name
    if (folder / PLAN).is_file():
        return folder
    if suite.is_file():
        why = f"there are no results of it in {folder}; `simo-cl run {suite}` makes them"
    elif suite.is_dir():
        why = f"this folder has no {PLAN}, so it is not one of a suite's results"
    else:
        why = f"there is no such file or folder, and no {folder}"
    there = sorted(path.parent.name for path in results.glob(f"*/{PLAN}"))
    raise SuiteError(
        f"{str(suite)!r}: {why}. Give a suite file, a suite's name, or the folder of its results, "
        "which has a plan.json; --results DIR says where names are looked for. Suites with results "
        f"in {results}: {', '.join(there) or 'none'}.{did_you_mean(name, there)}"
    )
