"""``simo-cl ui``."""

from __future__ import annotations

from typing import Annotated

import typer

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import (
    RESULTS,
    ResultsOption,
    SuiteOfResultsArgument,
    TrackingOption,
    suite_folder,
)


def ui(
    suite: SuiteOfResultsArgument,
    results: ResultsOption = RESULTS,
    tracking_uri: TrackingOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen on, at the loopback address.")
    ] = 5000,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open MLflow's own UI on a suite, with its strategies compared."""
    with plain_errors():
        from simo_cl.tracking.ui import serve_ui

        folder = suite_folder(suite, results)
        serve_ui(folder, tracking_uri=tracking_uri, port=port, open_browser=browser)
