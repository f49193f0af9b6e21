"""What several commands take, and what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    typer.Option(help="A Python file that registers parts of your own: docs/extending.md."),
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
