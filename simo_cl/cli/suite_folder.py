"""Where a suite's results are."""

from __future__ import annotations

from pathlib import Path


def suite_folder(suite: Path, results: Path) -> Path:
    """The folder of a suite's results, for a suite file, the suite's name, or that folder."""
    from simo_cl.harness.suite_file import SuiteError, read_suite
    from simo_cl.results import PLAN

    if (suite / PLAN).is_file():
        return suite
    name = read_suite(suite).suite.name if suite.is_file() else suite.name
    folder = results / name
    if not (folder / PLAN).is_file():
        there = sorted(path.parent.name for path in results.glob(f"*/{PLAN}"))
        raise SuiteError(
            f"no results of {str(suite)!r} in {folder}; run `simo-cl run` first. Suites with "
            f"results in {results}: {', '.join(there) or 'none'}"
        )
    return folder
