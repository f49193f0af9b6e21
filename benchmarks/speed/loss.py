"""Time and peak memory of the SimO loss, forward and backward, against its peers.

    python benchmarks/speed/loss.py                  # N = 130 to 65,536, d = 16, 64, 128
    python benchmarks/speed/loss.py --sizes 130,1024 --dims 128
    python benchmarks/speed/loss.py --busy 2         # beside two processes that hold the cores
    python benchmarks/speed/loss.py --forms          # SimO's forms alone, printed

All contestants of a size run in one process and in turn, as many steps as fit into a twentieth of a
second. The median of all steps counts but the first of each turn, which stands apart: it is *cold*,
as another contestant has had the caches. Where a turn is one step, both are the same. Those that
compare all pairs are left out where their N x N matrices would pass --memory-limit. SimO compares
N(K + C)/2 pairs of the same batch, the peers N^2/2: each ratio of times stands beside the ratio of
times per pair. Writes loss.json, .md, .svg and .png after every size, and keeps there what an
earlier call on this machine, with these versions, has measured and this one does not.

With --busy, SimO and SupCon take turns of one step beside so many processes that compute without
end: d = 128, N = 1,024 and 8,192 unless --sizes and --dims say otherwise. Every step counts.

With --forms, the forms take turns of one step in one thread, for the same sizes; the least CPU time
of each is printed, which other processes lengthen least.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import accumulate
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces every start and stop

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from _report import COLOURS, Report, Row, among, list_of, option_parser, table
from avalanche.training.losses import SCRLoss
from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from simo_cl.losses import simo_loss

# Classes and samples a class of each size.
SIZES = {130: (10, 13), 256: (16, 16), 1024: (32, 32), 4096: (64, 64), 8192: (128, 64)}
SIZES |= {16384: (256, 64), 65536: (1024, 64)}
SIMO, COMPILED, PRODUCTS = "SimO pairwise", "SimO pairwise, compiled", "bare matrix products"
KERNEL, BATCH = "SimO kernel", "SimO batch"
LINEAR = (SIMO, COMPILED, KERNEL, BATCH, PRODUCTS)  # everything else holds N x N matrices
LARGEST_COMPILED = 1024  # of more rows, a graph has the operators of each block of pairs
SECONDS_OF_A_TURN, MOST_TURNS = 0.05, 60
SQUARES = 8  # alive at once in a loss over all pairs, about

Loss = Callable[[Tensor, Tensor], Any]
Step = Callable[[], None]
Clock = Callable[[], float]


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--sizes", type=among(list(SIZES)), help=f"of {list(SIZES)}, default all")
    parser.add_argument("--dims", type=list_of(int))
    parser.add_argument("--busy", type=int, default=0, help="processes to measure beside")
    parser.add_argument("--forms", action="store_true", help="compare SimO's forms alone")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on a contestant")
    parser.add_argument("--memory-limit", type=float, default=6.0, help="GB, for N x N matrices")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    few = options.busy or options.forms
    options.sizes = options.sizes or ([1024, 8192] if few else list(SIZES))
    options.dims = options.dims or ([128] if few else [16, 64, 128])
    if options.quick:
        options.sizes, options.dims, options.seconds = [130], [16], 0.0
        torch.compiler.set_stance("force_eager")  # compilation takes a minute
    torch.set_num_threads(1 if options.forms else options.threads)
    if options.forms:
        measure: Callable[..., None] = forms
    else:
        packages = ("pytorch-metric-learning", "avalanche-lib")
        report = Report("loss", options.out, page, draw, packages)
        measure = partial(busy if options.busy else compare, report)
    for d in options.dims:
        for n in options.sizes:
            measure(n, d, options)


# --- the contestants ----------------------------------------------------------------------------


def contestants(classes: int, samples: int) -> dict[str, Loss]:
    """Each takes (embeddings, labels); its loss is differentiated where it is one."""
    scr, triplet, miner = SCRLoss(), TripletMarginLoss(), BatchHardMiner()
    compiled = torch.compile(simo_loss, dynamic=False, fullgraph=True)
    return {
        SIMO: simo_loss,
        COMPILED: partial(compiled, samples_per_class=samples),
        KERNEL: partial(simo_loss, form="kernel"),
        BATCH: partial(simo_loss, form="batch"),
        PRODUCTS: lambda x, y: products(x, classes, samples),
        "SupCon": SupConLoss(),
        "SupCon compiled": torch.compile(plain_supcon, dynamic=False),
        "SCR": lambda x, y: scr(F.normalize(x, dim=1)[:, None], labels=y),
        "triplet, batch-hard": lambda x, y: triplet(x, y, miner(x, y)),
        "SimO naive": naive_simo,
    }


def products(x: Tensor, classes: int, samples: int) -> None:
    """The matrix products that value and gradient need: two a group, in blocks that fit a cache."""
    by_class = x.detach().view(samples, classes, -1).transpose(0, 1).contiguous()
    for groups in (by_class, by_class.transpose(0, 1).contiguous()):
        n = groups.shape[1]
        for block in groups.split(max(1, 2**17 // n**2)):
            torch.bmm(torch.bmm(block, block.transpose(1, 2)), block)


def plain_supcon(x: Tensor, y: Tensor, temperature: float = 0.1) -> Tensor:
    z = F.normalize(x, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_p = logits - logits.logsumexp(1, keepdim=True)
    positive = (y[:, None] == y[None, :]) & ~itself
    return -(log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def naive_simo(x: Tensor, y: Tensor, epsilon: float = 0.1) -> Tensor:
    """All pairs of the batch, masked: what one writes down first."""
    e = F.normalize(x, dim=1)
    same_class = y[:, None] == y[None, :]
    rank = torch.tril(same_class, diagonal=-1).sum(1)
    means = e.view(int(rank.max()) + 1, -1, e.shape[1]).mean(0)

    def mean_over(e: Tensor, pairs: Tensor, similar: bool) -> Tensor:
        c = e @ e.T
        square = e.square().sum(1)
        d, o = (square[:, None] + square[None, :] - 2 * c).clamp_min(0), c.square()
        loss = d / (epsilon + o) if similar else o / (epsilon + d)
        pairs = torch.triu(pairs, diagonal=1)
        return torch.where(pairs, loss, 0).sum() / pairs.sum()

    dissimilar = mean_over(e, rank[:, None] == rank[None, :], similar=False)
    every = torch.ones(len(means), len(means), dtype=torch.bool, device=x.device)
    return mean_over(e, same_class, True) + mean_over(means, every, False) + dissimilar


# --- what is compared ---------------------------------------------------------------------------


def compare(report: Report, n: int, d: int, options: argparse.Namespace) -> None:
    """Adds the rows of a size to the report."""
    torch.compiler.reset()  # compiled functions are compiled afresh only so many times
    classes, samples = SIZES[n]
    x, labels = batch(n, d, options.device)
    shape = {"n": n, "d": d, "classes": classes, "samples": samples}
    pairs_of_simo = (n * (samples - 1) + n * (classes - 1) + classes * (classes - 1)) // 2
    rows: dict[str, Row] = {}
    steps = {}
    for name, loss in contestants(classes, samples).items():
        pairs = pairs_of_simo if name in LINEAR else n * (n - 1) // 2
        rows[name] = {"contestant": name, **shape, "pairs": pairs}
        gigabytes = 0 if name in LINEAR else SQUARES * 4 * n * n / 1e9
        if gigabytes > options.memory_limit:
            rows[name]["skipped"] = f"needs about {gigabytes:.0f} GB"
        elif name == COMPILED and n > LARGEST_COMPILED:
            rows[name]["skipped"] = "for small batches"
        else:
            steps[name] = one_step(loss, x, labels)
    simo = rows[SIMO]
    for name, turns in take_turns(steps, options.seconds).items():
        row, warm = rows[name], [s for turn in turns for s in turn[1:] or turn]
        row["ms"] = 1e3 * statistics.median(warm)
        row["cold_ms"] = 1e3 * statistics.median(turn[0] for turn in turns)
        row["turns"] = len(turns)
        row["peak_mb"] = peak_bytes(steps[name], x.device) / 1e6
        # SimO is the first.
        row["times_simo"] = row["ms"] / simo["ms"]
        row["cold_times_simo"] = row["cold_ms"] / simo["cold_ms"]
        row["per_pair"] = row["times_simo"] * simo["pairs"] / row["pairs"]
        row["memory_times_simo"] = row["peak_mb"] / simo["peak_mb"]
    simo["operators"] = operators(steps[SIMO])
    new = list(rows.values())
    print(f"\nN = {n}, d = {d}\n{table(new, OF_SIZE, **FORMATS)}", flush=True)
    part = f"N = {n}, d = {d}"
    report.add_rows(part, new, ("n", "d"), lambda row: (row["d"], row["n"]))
    report.add(part, growth=growth(report.measured["rows"]))


def busy(report: Report, n: int, d: int, options: argparse.Namespace) -> None:
    """Adds the row of a size on a busy machine to the report."""
    steps = {SIMO: simo_loss, "SupCon": SupConLoss()}
    steps = {name: one_step(loss, *batch(n, d, options.device)) for name, loss in steps.items()}
    with ExitStack() as stack:
        for _ in range(options.busy):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        times = one_by_one(steps, options.seconds)
    ms = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
    row = {"n": n, "d": d, "processes": options.busy, "ms": ms}
    row["steps"] = {name: len(seconds) for name, seconds in times.items()}
    row["times_simo"] = ms["SupCon"] / ms[SIMO]
    rows = {(r["d"], r["n"], r["processes"]): r for r in [*report.measured.get("busy", []), row]}
    print(row, flush=True)
    report.add(f"busy, N = {n}, d = {d}", busy=[rows[key] for key in sorted(rows)])


def forms(n: int, d: int, options: argparse.Namespace) -> None:
    """Prints the least CPU milliseconds of a step of each form, and their ratio to the first."""
    names = ("pairwise", "kernel", "batch")
    settings: list[dict[str, Any]] = [{"form": form} for form in names]
    settings += [{"form": "kernel", "bias": 0.1}, *({"form": f, "leaning": 1 / 137} for f in names)]
    x, labels = batch(n, d, options.device)
    steps = {str(s): one_step(partial(simo_loss, **s), x, labels) for s in settings}
    times = one_by_one(steps, options.seconds * len(steps), clock=time.thread_time)
    least = {name: 1e3 * min(seconds) for name, seconds in times.items()}
    for name, ms in least.items():
        ratio = ms / least[str(settings[0])]
        print(f"N = {n}, d = {d}: {ms:7.2f} ms, {ratio:.2f} times, {name}", flush=True)


# --- measuring ----------------------------------------------------------------------------------


def batch(n: int, d: int, device: str) -> tuple[Tensor, Tensor]:
    """Random embeddings of the size's classes, and their labels."""
    classes, samples = SIZES[n]
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    return x.to(device).requires_grad_(), torch.arange(classes, device=device).repeat(samples)


def one_step(loss: Loss, x: Tensor, y: Tensor) -> Step:
    def step() -> None:
        x.grad = None
        value = loss(x, y)
        if value is not None:
            value.backward()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def take_turns(steps: dict[str, Step], seconds: float) -> dict[str, list[list[float]]]:
    """The seconds of each step of each turn; slow contestants leave earlier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compilation has its own
        for step in steps.values():
            step()
    turns: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(MOST_TURNS):
        for name, taken in turns.items():
            if len(taken) < 3 or sum(map(sum, taken)) < seconds:
                taken.append(one_turn(steps[name], SECONDS_OF_A_TURN))
    return turns


def one_turn(step: Step, seconds: float = 0.0, clock: Clock = time.perf_counter) -> list[float]:
    """The seconds of each of so many steps as fit into these, at least one."""
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        start = clock()
        step()
        taken.append(clock() - start)
    return taken


def one_by_one(
    steps: dict[str, Step], seconds: float, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """The seconds of each step, at least three of each after one to warm up; all have equally
    many."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    while min(map(len, times.values())) < 3 or sum(map(sum, times.values())) < seconds:
        for name, step in steps.items():
            times[name] += one_turn(step, clock=clock)
    return times


def peak_bytes(step: Step, device: torch.device) -> int:
    """The most that a step held at once beside what there was before it; on a CPU, one thread's."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    # The profiler sees the memory of its own thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    torch.set_num_threads(threads)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    ordered = sorted(events, key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in ordered), initial=0))


def operators(step: Step, times: int = 10) -> list[Row]:
    """What a step spends its time on, the most expensive operator first, in milliseconds."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            step()
    spent = [
        {"operator": e.key, "calls": e.count / times, "ms": e.self_cpu_time_total / times / 1e3}
        for e in profiler.key_averages()
    ]
    return sorted(spent, key=lambda operator: -operator["ms"])


# --- the page -----------------------------------------------------------------------------------

RATIO = "{:.2f}"
FORMATS = {"pairs": "{:,}", "per_pair": RATIO, "times_simo": RATIO, "cold_times_simo": RATIO}
FORMATS |= {"share": "{:.0%}"}
OF_SIZE = ("n", "d", "classes", "samples", "operators")


def page(measured: Row) -> Iterator[str]:
    yield "Speed of the loss, forward and backward"
    frame = pd.DataFrame(measured["rows"], columns=["n", "d", "contestant", "times_simo"])
    widest = frame["d"].max()
    if len(frame):
        yield "![](loss.svg)"
        yield f"## Times SimO's time, d = {widest}"
        ratios = frame[frame["d"] == widest].pivot(index="n", columns="contestant")["times_simo"]
        ratios = ratios[frame["contestant"].unique()]
        yield table(ratios.reset_index(), **dict.fromkeys(ratios, RATIO))
    if measured.get("busy"):
        yield "## Beside processes that hold the cores"
        yield table(pd.json_normalize(measured["busy"]))
    if measured.get("growth"):
        yield "## Growth from N = 1,024 on: exponents of N"
        yield table(measured["growth"])
    for d, n in sorted({(row["d"], row["n"]) for row in measured["rows"]}, reverse=True):
        own = [row for row in measured["rows"] if (row["d"], row["n"]) == (d, n)]
        yield f"## N = {n:,} ({own[0]['classes']} classes of {own[0]['samples']}), d = {d}"
        yield table(own, OF_SIZE, **FORMATS)
        if d == widest:
            operators = pd.DataFrame(next(row["operators"] for row in own if "operators" in row))
            operators["share"] = operators["ms"] / operators["ms"].sum()
            operators["operator"] = "`" + operators["operator"] + "`"
            yield "Where SimO pairwise spends its time:"
            yield table(operators[:10], **FORMATS)


def draw(plt: Any, measured: Row) -> Any:
    frame = pd.DataFrame(measured["rows"], columns=["contestant", "n", "d", "ms", "peak_mb"])
    d = frame["d"].max()
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    labels = {"ms": "ms, forward and backward", "peak_mb": "peak MB"}
    for axes, (key, label) in zip(panels, labels.items(), strict=True):
        for colour, name in zip(COLOURS, frame["contestant"].unique(), strict=False):
            own = frame[(frame["contestant"] == name) & (frame["d"] == d) & (frame[key] > 0)]
            axes.loglog(own["n"], own[key], "o-", ms=3, color=colour, label=name)
        axes.set(xlabel=f"N (d = {d})", ylabel=label)
    if len(frame):
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def growth(rows: list[Row]) -> list[Row]:
    """The exponent of time ~ N^p from N = 1,024 on, and of the pairs that SimO compares."""
    frame = pd.DataFrame(rows).query("n >= 1024").dropna(subset="ms")
    fits = []
    for (name, d), own in frame.groupby(["contestant", "d"], sort=False):
        if len(own) >= 2:
            logs = np.log(own[["n", "ms", "pairs"]].to_numpy(dtype=float))
            time, pairs = np.polyfit(logs[:, 0], logs[:, 1:], 1)[0].tolist()
            fits.append({"contestant": name, "d": int(d), "time": time, "pairs": pairs})
    return fits


if __name__ == "__main__":
    main()
