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
        f"in {results}: {', '.join(there) or 'none'}"
    )
