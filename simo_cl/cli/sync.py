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
        from simo_cl.tracking.mirror import mirror

        shown = mirror(suite_folder(suite, results), tracking_uri)
    warn(shown.problems)
    tell(
        make_console(),
        f"{without_secrets(shown.tracking_uri)} shows {shown.children} runs of {shown.parents} "
        f"strategies; {shown.written} entries were new or had changed, {shown.removed} went to "
        "its trash.",
    )
