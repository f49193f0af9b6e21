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
from simo_cl.wording import count


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
        f"{without_secrets(shown.tracking_uri)} shows {count(shown.children, 'run')} of "
        f"{count(shown.parents, 'strategy')}. New or changed entries: {shown.written}; moved to "
        f"its trash: {shown.removed}.",
    )
