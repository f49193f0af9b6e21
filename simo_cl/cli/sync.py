"""``simo-cl sync``."""

from __future__ import annotations

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import (
    RESULTS,
    ResultsOption,
    SuiteOfResultsArgument,
    TrackingOption,
    suite_folder,
)
from simo_cl.cli.terminal import make_console, tell, warn
from simo_cl.tracking.redact import without_secrets


def sync(
    suite: SuiteOfResultsArgument,
    results: ResultsOption = RESULTS,
    tracking_uri: TrackingOption = None,
) -> None:
    """Bring MLflow up to date with a suite's run folders."""
    with plain_errors():
        from simo_cl.results import refuse_without_runs
        from simo_cl.tracking.mirror import mirror

        folder = suite_folder(suite, results)
        refuse_without_runs(folder)
        shown = mirror(folder, tracking_uri)
    warn(shown.problems)
    tell(
        make_console(),
        f"{without_secrets(shown.tracking_uri)} shows {shown.children} "
        f"run{'' if shown.children == 1 else 's'} of {shown.parents} "
        f"{'strategy' if shown.parents == 1 else 'strategies'}. New or changed entries: "
        f"{shown.written}; moved to its trash: {shown.removed}.",
    )
