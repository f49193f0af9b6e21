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
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import begun, command, environment, write
from _harness_page import HEADINGS, page, table
from _runs import CPU, QUICKSTART, ROOT, SIMO_CL, SPLIT_CIFAR10, finish

from simo_cl.harness import attempt
from simo_cl.harness.execute_suite import checked_data
from simo_cl.harness.plan import PlannedRun, plan_runs
from simo_cl.harness.plugins import load_plugins
from simo_cl.harness.precision import precision_of
from simo_cl.harness.resume import Resumption
from simo_cl.harness.suite_file import read_suite
from simo_cl.results import RunFolder, read_status

SHARE_OF_EPOCHS = 0.1  # in the section `checkpoints`

# Each process imports this file, as the user's own with --plugins.
NOTHING = """\
import simo_cl.harness.attempt
from simo_cl.harness.environment import describe_environment
from simo_cl.results import DataRecord

def nothing(run, data, folder, device, progress):
    folder.start(run.config, DataRecord.of(data), describe_environment(device, 1))
    folder.add_metrics(0, {"average_accuracy": 0.0})
    folder.finish()

simo_cl.harness.attempt.execute_run = nothing
"""


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)  # as each run has
    # Of libraries to their developers.
    warnings.showwarning = lambda *_, **__: None
    here = environment("avalanche-lib") | {"cores": os.cpu_count()}
    report = begun(options.out, "harness", here)
    for name in options.only:
        rows = [{"section": name, **row} for row in SECTIONS[name](options)]
        print(f"\n{HEADINGS[name]}\n{table(rows)}", flush=True)
        report["commands"] |= {" ".join(part(row)): command("harness") for row in rows}
        measured = set(map(part, rows))
        report["rows"] = [row for row in report["rows"] if part(row) not in measured] + rows
        report["rows"].sort(key=lambda row: (list(SECTIONS).index(row["section"]), part(row)))
        write(options.out, "harness", report, page(report))


def part(row: dict[str, Any]) -> tuple[str, str]:
    """The section, and what tells its rows apart."""
    section, first, *_ = row.values()
    return section, str(first)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--only", type=names, default=list(SECTIONS), help=f"of {list(SECTIONS)}")
    parser.add_argument("--jobs", type=names, default=["1", "2"], help="default 1,2")
    parser.add_argument("--runs", type=int, default=1000, help="that do nothing")
    parser.add_argument("--strategies", type=names, default=["er", "icarl", "simo"])
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    unknown = set(options.only) - set(SECTIONS)
    if unknown:
        parser.error(f"--only: {sorted(unknown)} are not among {list(SECTIONS)}")
    options.jobs = [int(jobs) for jobs in options.jobs]
    if options.quick:
        options.runs = 20
    return options


def jobs(options: argparse.Namespace) -> list[dict[str, Any]]:
    quick = ["--seeds=0", "--strategies=finetune,er", "--set=training.epochs=0.5"]
    rows = []
    for number in options.jobs:
        with tempfile.TemporaryDirectory() as results:
            words = [f"--jobs={number}", f"--results={results}"]
            started = time.perf_counter()
            subprocess.run(
                [*SIMO_CL, "run", str(QUICKSTART), *words, *(quick if options.quick else [])],
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""},
            )
            seconds = time.perf_counter() - started
            rows.append(
                {"jobs": number, "seconds": seconds, "seconds_of_runs": _of_runs(Path(results))}
            )
    return rows


def _of_runs(results: Path) -> float:
    """From the beginning of a suite's first run to the end of its last: what jobs can share."""
    statuses = [read_status(path.parent) for path in results.glob("*/runs/*/*/status.json")]
    first, last = zip(*((s.started, s.ended) for s in statuses if s is not None), strict=True)
    return float(max(last) - min(first))


def overhead(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        plugins = Path(name) / "nothing.py"
        plugins.write_text(NOTHING, encoding="utf-8")
        execute_run = attempt.execute_run
        digest = load_plugins(plugins)
        seeds = f"seeds={list(range(options.runs))}"
        runs = planned(QUICKSTART, seeds, ["er"], plugins=digest)
        try:
            for number in options.jobs:
                ends = execute(runs, Path(name) / str(number), number, plugins)
                # From the first end on: before it, processes are started.
                ms = 1000 * (ends[-1] - ends[0]) / (len(ends) - 1)
                row = {"jobs": number, "runs": len(ends), "ms_a_run": ms}
                rows.append({**row, "ms_of_a_process_a_run": ms * number})
        finally:
            attempt.execute_run = execute_run
    return rows


def checkpoints(options: argparse.Namespace) -> list[dict[str, Any]]:
    seconds: list[float] = []
    save = Resumption._save

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        save(*arguments)
        seconds.append(time.perf_counter() - started)

    Resumption._save = timed  # type: ignore[method-assign]
    suite = QUICKSTART if options.quick else SPLIT_CIFAR10
    rows = []
    try:
        for strategy in options.strategies:
            seconds.clear()
            (whole,) = planned(suite, "seeds=[0]", [strategy])
            epochs = SHARE_OF_EPOCHS * whole.settings.training.epochs
            (run,) = planned(suite, "seeds=[0]", [strategy], f"training.epochs={epochs}")
            with tempfile.TemporaryDirectory() as folder:
                execute([run], Path(folder), data_root=options.data_root)
                last = RunFolder(Path(folder) / run.folder).last_metrics()
            train, evaluate, spent = (
                last["cost/train_seconds"],
                last["cost/evaluate_seconds"],
                sum(seconds),
            )
            rows.append(
                {
                    "strategy": strategy,
                    "checkpoints": len(seconds),
                    "seconds": spent,
                    "train_seconds": train,
                    "evaluate_seconds": evaluate,
                    "share": spent / (train + evaluate + spent),
                    "share_of_whole_run": spent / (train / SHARE_OF_EPOCHS + evaluate + spent),
                }
            )
    finally:
        Resumption._save = save  # type: ignore[method-assign]
    return rows


def planned(
    suite: Path, setting: str, strategies: list[str], *more: str, plugins: str = "none"
) -> list[PlannedRun]:
    file = read_suite(suite, (setting, *more))
    folder, precision = ROOT / "strategies", precision_of(CPU)
    runs = plan_runs(file.suite, folder, file.places, precision, plugins)
    return [run for run in runs if run.settings.entry in strategies]


def execute(
    runs: list[PlannedRun],
    folder: Path,
    number: int = 1,
    plugins: Path | None = None,
    data_root: Path | None = None,
) -> list[float]:
    """When each run ended."""
    ends: list[float] = []
    finish(
        runs,
        folder,
        data=checked_data(runs, data_root),
        device=CPU,
        jobs=number,
        plugins=plugins,
        after_each=lambda: ends.append(time.perf_counter()),
    )
    return ends


SECTIONS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "jobs": jobs,
    "overhead": overhead,
    "checkpoints": checkpoints,
}


if __name__ == "__main__":
    main()
