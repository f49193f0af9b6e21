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

import argparse
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _bounds import Bound, bounds_table
from _common import about, command, environment, markdown, write
from _runs import CPU, QUICKSTART, SIMO_CL, finish

from simo_cl.harness.execute_suite import checked_data, write_plan
from simo_cl.harness.plan import plan_runs
from simo_cl.harness.precision import precision_of
from simo_cl.harness.strategy_files import strategies_folder
from simo_cl.harness.suite_file import read_suite
from simo_cl.report.figures.embeddings import tsne_layout

STRATEGIES = "finetune joint er er_balanced er_ace der icarl supcon triplet simo".split()  # noqa: SIM905
SEEDS = 5
POINTS, CLUSTERS, DIMENSIONS = 2000, 10, 160

BOUNDS = (
    Bound("report", "seconds", 180, lambda row: "runs" in row, "{:.0f} s", at_least=False),
    Bound("its page", "page_mb", 10, lambda row: "runs" in row, "{:.1f} MB", at_least=False),
    Bound("t-SNE", "seconds", 20, lambda row: "points" in row, "{:.1f} s", at_least=False),
)


def main() -> None:
    options = arguments()
    # Of libraries to their developers.
    warnings.showwarning = lambda *_, **__: None
    small = options.quick
    rows = [
        tsne(200 if small else POINTS),
        report_page(["er_balanced", "simo"], 2, 10, 1)
        if small
        else report_page(STRATEGIES, SEEDS, 100, os.cpu_count() or 1),
    ]
    report = {
        "environment": environment("scikit-learn", "matplotlib") | {"cores": os.cpu_count()},
        "commands": {"all": command("report")},
        "rows": rows,
    }
    write(options.out, "report", report, page(report))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    return parser.parse_args()


def report_page(strategies: list[str], seeds: int, samples: int, jobs: int) -> dict[str, Any]:
    """Of all these strategies with each of these seeds, and so many samples a class to draw."""
    overrides = (f"evaluation.samples_per_class={samples}", "training.epochs=0.01")
    file = read_suite(QUICKSTART, overrides)
    suite = file.suite.model_copy(
        update={"strategies": {name: {} for name in strategies}, "seeds": tuple(range(seeds))}
    )
    runs = plan_runs(suite, strategies_folder(QUICKSTART, None), file.places, precision_of(CPU))
    data = checked_data(runs, None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_plan(folder, suite, runs, command="", data=data)
        finish(runs, folder, data=data, device=CPU, jobs=jobs)
        started = time.perf_counter()
        subprocess.run([*SIMO_CL, "report", name], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        size = (folder / "report.html").stat().st_size
    return {
        "strategies": len(strategies),
        "seeds": seeds,
        "experiences": suite.stream.experiences,
        "runs": len(runs),
        "seconds": seconds,
        "page_mb": size / 1e6,
    }


def tsne(points: int) -> dict[str, Any]:
    """Of clusters that overlap."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS))
    rows = np.repeat(centres, points // CLUSTERS, axis=0)
    rows = rows + random.normal(size=rows.shape)
    started = time.perf_counter()
    layout = tsne_layout(rows)
    seconds = time.perf_counter() - started
    same = bool(np.array_equal(layout, tsne_layout(rows)))
    return {"points": len(rows), "dimensions": DIMENSIONS, "seconds": seconds, "same_again": same}


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    parts = [
        "# Speed of the report",
        about(report["environment"]),
        *(f"`{command}`" for command in report["commands"].values()),
        bounds_table(BOUNDS, report["rows"]),
        *(
            markdown([key.replace("_", " ") for key in row], [list(map(_cell, row.values()))])
            for row in report["rows"]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    main()
