"""What the harness itself costs: runs at once, scheduling, checkpoints.

    python benchmarks/speed/harness.py --data-root DIR         # all sections; DIR has CIFAR-10
    python benchmarks/speed/harness.py --only jobs --jobs 1    # a part; the others are kept

- jobs: seconds of `simo-cl run benchmarks/quickstart.yaml`, one thread a run, with 1 and 2 jobs,
  and of its runs alone: the rest imports, draws the report and brings MLflow up to date;
- overhead: milliseconds a run where training does nothing but begin and finish its folder;
- checkpoints: the share of a run's time that its checkpoints take, in split_cifar10 with a tenth of
  its epochs, and in a whole run. That writes as many, unless an experience takes it longer than the
  suite's `checkpoint_minutes`.

Writes harness.json and .md after every section, and keeps there what an earlier call on this
machine, with these versions, has measured and this one does not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _report import Report, Row, bounds_table, hide_warnings, list_of, option_parser, table
from _suite_runs import QUICKSTART, SPLIT_CIFAR10, SuiteRuns

from simo_cl.harness import attempt
from simo_cl.harness.resume import Resumption
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import read_status

SHARE_OF_EPOCHS = 0.1  # in the section `checkpoints`

# Each process imports this file, as the user's own with --plugins.
NOTHING = """\
import simo_cl.harness.attempt
from simo_cl import register
from simo_cl.harness.environment import describe_environment
from simo_cl.results import DataRecord

@register.encoder("unused")  # a file of parts has one
def unused(channels, width, norm): ...

def nothing(run, data, folder, device, progress):
    folder.start(run.config, DataRecord.of(data), describe_environment(device, 1))
    folder.add_metrics(0, {"average_accuracy": 0.0})
    folder.finish()

simo_cl.harness.attempt.execute_run = nothing
"""


def main() -> None:
    parser = option_parser(__doc__, list(SECTIONS))
    parser.add_argument("--jobs", type=list_of(int), default=[1, 2], help="default 1,2")
    parser.add_argument("--runs", type=int, default=1000, help="that do nothing")
    parser.add_argument("--strategies", type=list_of(str), default=["er", "icarl", "simo"])
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    options = parser.parse_args()
    if options.quick:
        options.runs = 20
    torch.set_num_threads(1)  # as each run has
    hide_warnings()
    report = Report("harness", options.out, page, packages=["avalanche-lib"], cores=os.cpu_count())
    for name in options.only:
        measure, heading = SECTIONS[name]
        for row in measure(options):
            part, same = f"{name} {next(iter(row.values()))}", ("section", "jobs", "strategy")
            report.add_rows(part, [{"section": name} | row], same, place)
        print(f"\n{heading}\n{section_table(rows_of(report.measured, name))}", flush=True)


def place(row: Row) -> tuple[int, str]:
    """The section's, and the row's in it."""
    section, first, *_ = row.values()
    return list(SECTIONS).index(section), str(first)


def jobs(options: argparse.Namespace) -> Iterator[Row]:
    quick = ["--seeds=0", "--strategies=finetune,er", "--set=training.epochs=0.5"]
    simo_cl = [sys.executable, "-c", "from simo_cl.cli import app; app()"]
    for number in options.jobs:
        with tempfile.TemporaryDirectory() as results:
            words = ["run", str(QUICKSTART), f"--jobs={number}", f"--results={results}"]
            started = time.perf_counter()
            subprocess.run(
                [*simo_cl, *words, *(quick if options.quick else [])],
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""},
            )
            seconds = time.perf_counter() - started
            # From the beginning of the first run to the end of the last: what jobs can share.
            begun, ended = _times(Path(results))
        yield {"jobs": number, "seconds": seconds, "seconds_of_runs": ended[-1] - begun[0]}


def _times(results: Path) -> tuple[list[Any], list[Any]]:
    """When runs were started, and when they ended, each in ascending order."""
    statuses = [read_status(path.parent) for path in results.rglob("status.json")]
    return sorted(s.started for s in statuses if s), sorted(s.ended for s in statuses if s)


def overhead(options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name, patch.object(attempt, "execute_run"):
        plugins = Path(name) / "nothing.py"
        plugins.write_text(NOTHING, encoding="utf-8")
        for number in options.jobs:
            folder, seeds = Path(name) / str(number), range(options.runs)
            suite = SuiteRuns(QUICKSTART, ["er"], folder, seeds=seeds, plugins=plugins)
            suite.execute(jobs=number)
            _, ends = _times(folder)
            # From the first end on: before it, processes are started.
            ms = 1000 * (ends[-1] - ends[0]) / (len(ends) - 1)
            row = {"jobs": number, "runs": len(ends), "ms_a_run": ms}
            yield {**row, "ms_of_a_process_a_run": ms * number}


def checkpoints(options: argparse.Namespace) -> Iterator[Row]:
    seconds: list[float] = []
    save = Resumption._save

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        save(*arguments)
        seconds.append(time.perf_counter() - started)

    path = QUICKSTART if options.quick else SPLIT_CIFAR10
    epochs = f"training.epochs={SHARE_OF_EPOCHS * read_suite(path).suite.training.epochs}"
    for strategy in options.strategies:
        seconds.clear()
        with tempfile.TemporaryDirectory() as folder, patch.object(Resumption, "_save", timed):
            suite = SuiteRuns(path, [strategy], Path(folder), epochs, data_root=options.data_root)
            suite.execute()
            last = suite.last_metrics()
        train, evaluate = last["cost/train_seconds"], last["cost/evaluate_seconds"]
        spent = sum(seconds)
        yield {
            "strategy": strategy,
            "checkpoints": len(seconds),
            "seconds": spent,
            "train_seconds": train,
            "evaluate_seconds": evaluate,
            "share": spent / (train + evaluate + spent),
            "share_of_whole_run": spent / (train / SHARE_OF_EPOCHS + evaluate + spent),
        }


# Each with the heading of its rows.
SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Iterator[Row]], str]] = {
    "jobs": (jobs, "`simo-cl run benchmarks/quickstart.yaml`, one thread a run"),
    "overhead": (overhead, "Runs that do nothing but begin and finish their folder"),
    "checkpoints": (
        checkpoints,
        "Checkpoints in runs of split_cifar10 with a tenth of their epochs, and their share of a "
        "whole run, whose training is extrapolated",
    ),
}


def page(measured: Row) -> Iterator[str]:
    yield "Speed of the harness"
    sections = {name: rows_of(measured, name) for name in SECTIONS}
    yield bounds_table("harness", [row for rows in sections.values() for row in rows])
    for name, rows in sections.items():
        if rows:
            yield f"## {SECTIONS[name][1]}"
            yield section_table(rows)


def section_table(rows: list[Row]) -> str:
    return table(rows, ["section"], share="{:.2%}", share_of_whole_run="{:.2%}")


def rows_of(measured: Row, section: str) -> list[Row]:
    """With the time of each number of jobs over the time of one, where that has been measured."""
    rows = [row for row in measured["rows"] if row["section"] == section]
    one = next((row for row in rows if section == "jobs" and row["jobs"] == 1), None)
    if one is None:
        return rows
    over = {"seconds": "of_one_job", "seconds_of_runs": "runs_of_one_job"}
    return [row | {new: row[key] / one[key] for key, new in over.items()} for row in rows]


if __name__ == "__main__":
    main()
