"""Several suites as one, side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from simo_cl.results.labels import file_name
from simo_cl.results.plan import Plan
from simo_cl.results.run import Source
from simo_cl.results.schema import ResultsError
from simo_cl.results.suite import Suite


def merge_suites(suites: Sequence[Suite]) -> Suite:
    """The runs of all of them; a row that several have is told apart as a grid's are, by its suite:
    ``simo[suite=mine]``. What is made of several goes to a folder beside the first one's.

    Args:
        suites: one or more; a single one is given back as it is.

    Raises:
        ResultsError: two are of one folder, whose seeds would count twice.
    """
    if len(suites) == 1:
        return suites[0]
    for folder, count in Counter(suite.folder.resolve() for suite in suites).items():
        if count > 1:
            raise ResultsError(
                f"{folder} was given {count} times, by one name or several, and would count every "
                "seed as often; give each suite once"
            )
    names = titles = [suite.plan.suite for suite in suites]
    if len(set(names)) < len(names):
        names = _apart([suite.folder.resolve().parts for suite in suites])
        titles = [f"{title} ({name})" for title, name in zip(titles, names, strict=True)]
    rows = Counter(label for suite in suites for label in suite.labels)
    runs = tuple(
        replace(
            run,
            variant=_and_suite(run.variant, name) if rows[run.label] > 1 else run.variant,
            source=Source(name, (suite.plan.data, suite.plan.class_names), run.label),
        )
        for suite, name in zip(suites, names, strict=True)
        for run in suite.runs
    )
    controls = {suite.control for suite in suites} - {None}
    classes = {suite.plan.class_names for suite in suites}
    plan = Plan(
        suite=" and ".join(titles),
        control=controls.pop() if len(controls) == 1 else None,
        data=" and ".join(dict.fromkeys(suite.plan.data for suite in suites)),
        class_names=classes.pop() if len(classes) == 1 else (),
        version=" and ".join(dict.fromkeys(suite.plan.version for suite in suites)),
        runs=(),
    )
    first = suites[0].folder.resolve()
    together = file_name("+".join(suite.folder.resolve().name for suite in suites))
    parts = tuple(suite.folder for suite in suites)
    return Suite(first.with_name(together), plan, runs, parts)


def _apart(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """As few parts of different paths as tell them apart, the last ones in which they differ."""
    while len({path[-1:] for path in paths}) == 1:
        paths = [path[:-1] for path in paths]
    count = 1
    while len({path[-count:] for path in paths}) < len(paths):
        count += 1
    return ["/".join(path[-count:]) for path in paths]


def _and_suite(variant: str, name: str) -> str:
    of_suite = "suite=" + re.sub(r"[/,\[\]=]", "_", name)
    return f"{variant},{of_suite}" if variant else of_suite
