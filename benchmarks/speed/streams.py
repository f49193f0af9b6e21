"""Milliseconds an iteration of stock Avalanche, of ours, and of the bare PyTorch loop.

    python benchmarks/speed/streams.py --data-root DIR     # CIFAR-10; without it, random images
    python benchmarks/speed/streams.py --only online,course --precisions float32,bfloat16

The contestants of a comparison run in one process and in turn, a number of iterations each; the
first turn warms up and the median of the others counts. Batches and augmentations of a comparison
are the same, and so are networks, but that stock Avalanche is also run with its own slim ResNet-18,
which is float32. Evaluators have neither metrics nor loggers. Writes streams.json, .md, .svg and
.png after every comparison, and keeps there what an earlier call on this machine, with these
versions and data, has measured and this one does not.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

import _contestants as contestants
import pandas as pd
import torch
from _contestants import BARE, CROP_AND_FLIP, EMPTY, SCR_AUGMENT, SLIM, Scene
from _report import (
    COLOURS,
    Report,
    Row,
    among,
    bounds_table,
    hide_warnings,
    option_parser,
    random_data,
    table,
    take_turns,
)
from _suite_runs import QUICKSTART, SPLIT_CIFAR10, SuiteRuns
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from threadpoolctl import threadpool_limits
from torch.utils.benchmark import timer

from simo_cl.harness.execute_run import first_rows, make_benchmark
from simo_cl.harness.setup import Setup
from simo_cl.harness.suite_file import read_suite
from simo_cl.streams import DataSet, load_data
from simo_cl.tracking.mirror import mirror

# Of the training whose metrics are timed; their time does not depend on it.
SHARE_OF_STEPS = 0.07
# Who takes part, with which augmentations, and by network the iterations a turn and, of strategies
# that train on whole experiences, the images a class.
COMPARISONS = {
    "online": (contestants.online, [(), CROP_AND_FLIP], {EMPTY: [200], SLIM: [20]}),
    "contrastive": (contestants.contrastive, [SCR_AUGMENT], {EMPTY: [20], SLIM: [2]}),
    "strategies": (contestants.strategies, [CROP_AND_FLIP], {EMPTY: [50, 500], SLIM: [10, 250]}),
    "batch": (contestants.batch, [CROP_AND_FLIP], {EMPTY: [20], SLIM: [4]}),
}
QUICK = [2, 20]  # these numbers with --quick
DESCRIBED = ("network", "precision", "augment")
HEADINGS = {
    "online": "Online: 10 new images and 10 of a full class-balanced memory of 1,000",
    "contrastive": (
        "Online contrastive: 10 new images and 100 of a full class-balanced memory of 200, in two "
        "views; where the second one is stock, torchvision makes it of a batch at once"
    ),
    "strategies": (
        "Avalanche's own strategies: MIR online, ER-ACE and DER in one pass over each experience, "
        "10 and 10, iCaRL in batches of 128"
    ),
    "batch": "Batch protocol: Avalanche's Naive in batches of 128",
    "course": "Course of an online stream, empty network, crop and flip, from an empty memory on",
    "evaluation": (
        "Metrics and MLflow beside the training, in a run of simo whose training is extrapolated "
        f"from {SHARE_OF_STEPS:.0%} of its steps"
    ),
}


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    hide_warnings()
    data = random_data(150 if options.quick else 5000)
    if options.data_root is not None:
        data = load_data("cifar10", options.data_root)
    report = Report("streams", options.out, page, draw, ["avalanche-lib"], data=data.note)
    for name in options.only:
        print(f"\n{HEADINGS[name]}", flush=True)
        if name in COMPARISONS:
            for scene in scenes(name, data, options):
                rows = compare(name, scene, options)
                part, same = f"{name}: {title(rows[0])}", ("section", *DESCRIBED)
                report.add_rows(part, rows, same, lambda r: list(HEADINGS).index(r["section"]))
                print(f"\n{title(rows[0])}\n{comparison_table(rows)}", flush=True)
        else:
            measure = course if name == "course" else evaluation
            report.add(name, **{name: measure(data, options)})
            print(further_table(report.measured, name), flush=True)


def arguments() -> argparse.Namespace:
    parser = option_parser(__doc__, list(HEADINGS))
    parser.add_argument("--networks", type=among([EMPTY, SLIM]), default=[EMPTY, SLIM])
    precisions = among(["float32", "bfloat16"])
    parser.add_argument("--precisions", type=precisions, default=["float32"], help="of the ResNet")
    parser.add_argument("--rounds", type=int, help="turns that count, default 5")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-root", type=Path, help="folder with CIFAR-10")
    options = parser.parse_args()
    # iCaRL learns one class of ten in a turn, and one turn warms up.
    if options.rounds is not None and not 1 <= options.rounds <= 9:
        parser.error(f"--rounds is {options.rounds}; it must be from 1 to 9")
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def scenes(section: str, data: DataSet, options: argparse.Namespace) -> Iterator[Scene]:
    """Each network in each of its precisions, with each augmentation."""
    width = 8 if options.quick else 20
    for augment in COMPARISONS[section][1]:
        for network in options.networks:
            for precision in ["float32"] if network == EMPTY else options.precisions:
                yield Scene(data, network, precision, augment, options.device, width)


def compare(section: str, scene: Scene, options: argparse.Namespace) -> list[Row]:
    take_part, _, by_network = COMPARISONS[section]
    sizes = by_network[scene.network]
    them = list(take_part(scene, *(QUICK[: len(sizes)] if options.quick else sizes)))
    warming_up = 0 if options.quick else 1
    turns = {one.name: partial(milliseconds, one.chunk) for one in them}
    taken = take_turns(turns, warming_up + options.rounds)
    taken = {name: ms[warming_up:] for name, ms in taken.items()}
    median = {name: statistics.median(ms) for name, ms in taken.items()}
    described = {"section": section, "network": scene.network, "precision": scene.precision}
    described["augment"] = " + ".join(scene.augment)
    rows = []
    for one in them:
        row = described | {"contestant": one.name, "ms": median[one.name], "turns": taken[one.name]}
        peers = {"times_stock": median.get(one.stock), "of_bare": median.get(one.bare)}
        rows.append(row | {key: ms / row["ms"] for key, ms in peers.items() if ms is not None})
    return rows


def milliseconds(chunk: Callable[[], int]) -> float:
    """Of an iteration; the timer waits for what a GPU still has to do."""
    start = timer()
    iterations = chunk()
    return 1e3 * (timer() - start) / iterations


def course(data: DataSet, options: argparse.Namespace) -> Row:
    """Milliseconds an iteration, window by window of the stream."""
    batches, window = (30, 10) if options.quick else (5000, 100)
    scene = Scene(data, EMPTY, augment=CROP_AND_FLIP, device=options.device)
    chunks = contestants.online_strategies(scene, window, filled=False)
    turns = {name: partial(milliseconds, chunk) for name, chunk in chunks.items()}
    return {"window": window, "ms": take_turns(turns, batches // window)}


def evaluation(data: DataSet, options: argparse.Namespace) -> Row:
    """Seconds of one run of `simo`, the strategy with most metrics, which has two spaces: of the
    whole training, extrapolated from few steps, as what an experience's evaluation takes does not
    depend on it; of evaluating accuracy alone, as Avalanche does; of all metrics on top of that;
    and of showing the run in MLflow."""
    path, device = SPLIT_CIFAR10, torch.device(options.device)
    if options.quick:
        path, data = QUICKSTART, load_data("digits")
    epochs = read_suite(path).suite.training.epochs
    with tempfile.TemporaryDirectory() as name:
        less = f"training.epochs={epochs * SHARE_OF_STEPS}"
        simo = SuiteRuns(path, ["simo"], Path(name), less, data=data, device=device)
        store = f"sqlite:///{simo.folder / 'mlflow.db'}"
        mirror(simo.folder, store)  # makes the store, once a suite
        simo.execute()
        started = timer()
        mirror(simo.folder, store)
        logging = timer() - started
        measured = simo.last_metrics()
    settings = simo.runs[0].settings
    experiences, training = settings.stream.experiences, settings.training
    steps = experiences * math.ceil(epochs * len(data.train) / experiences / training.batch_size)
    benchmark = make_benchmark(data, settings, False, device)
    setup = Setup(settings, data, device, [1], first_rows=first_rows(benchmark))
    evaluator = EvaluationPlugin(accuracy_metrics(experience=True, stream=True))
    strategy = Naive(**setup.stock_arguments(setup.classifier(), 0.1) | {"evaluator": evaluator})
    torch.set_num_threads(training.threads)  # as many as the run has
    with threadpool_limits(training.threads):
        strategy.eval(benchmark.test_stream[:1])
        started = timer()
        strategy.eval(benchmark.test_stream)
        accuracy = experiences * (timer() - started)
    torch.set_num_threads(options.threads)
    seconds = {
        "training": measured["cost/train_seconds"] / measured["cost/steps"] * steps,
        "accuracy on the test images alone": accuracy,
        "all metrics on top": measured["cost/evaluate_seconds"] - accuracy,
        "MLflow": logging,
    }
    return {"suite": path.stem, "seconds": seconds}


def page(measured: Row) -> Iterator[str]:
    further = {name: further_rows(measured, name) for name in ("course", "evaluation")}
    yield "Speed of streams and replay"
    yield "Of the slim ResNet-18 unless said:"
    yield bounds_table("streams", [*measured["rows"], *further["course"], *further["evaluation"]])
    yield "![](streams.svg)"
    section = ""
    for rows in comparisons(measured["rows"]):
        if rows[0]["section"] != section:
            section = rows[0]["section"]
            yield f"## {HEADINGS[section]}"
        yield f"### {title(rows[0])}"
        yield comparison_table(rows)
    for name, rows in further.items():
        if rows:
            yield f"## {HEADINGS[name]}"
            yield f"In {measured[name]['suite']}:" if name == "evaluation" else ""
            yield further_table(measured, name)


FORMATS = {"times_stock": "{:.2f}", "of_bare": "{:.0%}", "of_training": "{:.1%}"}
FORMATS |= {"last_over_first": "{:.2f}"}


def comparisons(rows: list[Row]) -> list[list[Row]]:
    """The rows of each comparison."""
    by_scene = groupby(rows, lambda row: (row["section"], title(row)))
    return [list(own) for _, own in by_scene]


def title(row: Row) -> str:
    return f"{row['network']}, {row['precision']}, {row['augment'] or 'no augmentation'}"


def comparison_table(rows: list[Row]) -> str:
    rows = [row | {"iterations_a_second": 1e3 / row["ms"]} for row in rows]
    return table(rows, ["section", *DESCRIBED], **FORMATS)


def further_table(measured: Row, section: str) -> str:
    return table(further_rows(measured, section), ["section", "precision"], **FORMATS)


def further_rows(measured: Row, section: str) -> list[Row]:
    """Of the course, its first and its last fifth; of the evaluation, seconds of a whole run, and
    their share of its training."""
    if section not in measured:
        return []
    if section == "course":
        ms, precision = pd.DataFrame(measured[section]["ms"]), "float32"
        fifth = max(1, len(ms) // 5)
        first, last = ms[:fifth].median(), ms[-fifth:].median()
        frame = pd.DataFrame({"ms_first_fifth": first, "ms_last_fifth": last})
        frame["last_over_first"] = last / first
    else:
        seconds, precision = pd.Series(measured[section]["seconds"]), "the suite's precision"
        frame = pd.DataFrame({"seconds": seconds, "of_training": seconds / seconds["training"]})
    frame = frame.rename_axis("contestant").reset_index()
    return frame.assign(section=section, precision=precision).to_dict("records")


def draw(plt: Any, measured: Row) -> Any:
    """A panel of bars for each comparison, and one of lines for the course of a stream."""
    groups = comparisons(measured["rows"])
    count = len(groups) + ("course" in measured)
    lines = max(1, -(-count // 3))
    size = {"figsize": (15, 3.2 * lines), "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(lines, 3, **size)
    for panel in axes.flat[count:]:
        panel.set_axis_off()
    for panel, rows in zip(axes.flat, groups, strict=False):
        names = [fill(row["contestant"], 30) for row in rows]
        colours = [colour(row["contestant"]) for row in rows]
        bars = panel.barh(names, [row["ms"] for row in rows], color=colours)
        panel.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
        panel.invert_yaxis()
        panel.margins(x=0.15)
        label(panel, f"{rows[0]['section']}: {title(rows[0])}", "ms an iteration")
    if "course" in measured:
        panel, of_course = axes.flat[count - 1], pd.DataFrame(measured["course"]["ms"])
        of_course.index = measured["course"]["window"] * (of_course.index + 1)
        # Stock, the stock strategy on our data, ours twice.
        colours = dict(zip(of_course, [COLOURS[k] for k in (3, 4, 1, 0)], strict=True))
        of_course.plot(ax=panel, logy=True, linewidth=1, color=colours, legend=False)
        label(panel, "course of the stream: empty network, crop + flip", "batches")
        panel.set_ylabel("ms an iteration", fontsize=8)
        place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        panel.legend(frameon=False, fontsize=7, **place).set_in_layout(False)
    return figure


def label(panel: Any, heading: str, xlabel: str) -> None:
    panel.set_title(fill(heading, 60), fontsize=8, loc="left")
    panel.set_xlabel(xlabel, fontsize=8)
    panel.tick_params(labelsize=7)


def colour(contestant: str) -> str:
    ours = contestant.endswith("our data") or contestant.startswith("ours")
    return COLOURS[2] if contestant.startswith(BARE) else COLOURS[0] if ours else COLOURS[3]


if __name__ == "__main__":
    main()
