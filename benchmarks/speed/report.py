"""What a report costs: the page of 10 strategies x 5 seeds x 5 experiences, and a t-SNE.

    python benchmarks/speed/report.py       # minutes: most of them for the runs to report on

- page: wall-clock seconds of `simo-cl report` and the size of report.html. Its runs are real ones
  on the quick start's data, with one step an experience, as a report takes as long whatever was
  learnt, and with as many stored samples a class as suites have by default.
- t-SNE: seconds of the report's own layout of 2,000 points, of ten clusters in 160 dimensions, and
  whether a second one is the same.

Writes report.json and .md.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _report import Report, Row, bounds_table, hide_warnings, option_parser, table
from _suite_runs import QUICKSTART, SIMO_CL, SuiteRuns

from simo_cl.report.tsne import tsne_layout

STRATEGIES = ["finetune", "joint", "er", "er_balanced", "er_ace", "der", "icarl"]
STRATEGIES += ["supcon", "triplet", "simo"]
SEEDS = 5
POINTS, CLUSTERS, DIMENSIONS = 2000, 10, 160


def main() -> None:
    options = option_parser(__doc__).parse_args()
    hide_warnings()
    packages = ("scikit-learn", "matplotlib")
    report = Report("report", options.out, page, packages=packages, cores=os.cpu_count())
    if options.quick:
        rows = [tsne(200), report_page(["er_balanced", "simo"], 2, 10, 1)]
    else:
        rows = [tsne(POINTS), report_page(STRATEGIES, SEEDS, 100, os.cpu_count() or 1)]
    report.add("all", rows=rows)


def report_page(strategies: list[str], seeds: int, samples: int, jobs: int) -> Row:
    """Of all these strategies with each of these seeds, and so many samples a class to draw."""
    overrides = (f"evaluation.samples_per_class={samples}", "training.epochs=0.01")
    with tempfile.TemporaryDirectory() as name:
        suite = SuiteRuns(QUICKSTART, strategies, Path(name), *overrides, seeds=range(seeds))
        suite.execute(jobs=jobs)
        started = time.perf_counter()
        subprocess.run([*SIMO_CL, "report", name], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        size = (Path(name) / "report.html").stat().st_size
    return {
        "measured": "page",
        "strategies": len(strategies),
        "seeds": seeds,
        "experiences": suite.suite.stream.experiences,
        "runs": len(suite.runs),
        "seconds": seconds,
        "page_mb": size / 1e6,
    }


def tsne(points: int) -> Row:
    """Of clusters that overlap."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS))
    rows = np.repeat(centres, points // CLUSTERS, axis=0)
    rows = rows + random.normal(size=rows.shape)
    started = time.perf_counter()
    layout = tsne_layout(rows)
    seconds = time.perf_counter() - started
    same = bool(np.array_equal(layout, tsne_layout(rows)))
    shape = {"points": len(rows), "dimensions": DIMENSIONS}
    return {"measured": "t-SNE", **shape, "seconds": seconds, "same_again": same}


def page(measured: Row) -> Iterator[str]:
    yield "Speed of the report"
    yield bounds_table("report", measured["rows"])
    yield from (table([row]) for row in measured["rows"])


if __name__ == "__main__":
    main()
