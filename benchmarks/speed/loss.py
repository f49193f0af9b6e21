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
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces every start and stop

import torch
import torch.nn.functional as F
from _common import begun, command, environment, synchronize, write, write_figure
from _loss_page import draw, growth, page, table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from simo_cl.losses import simo_loss

# Classes and samples a class of each size.
SIZES = {
    130: (10, 13),
    256: (16, 16),
    1024: (32, 32),
    4096: (64, 64),
    8192: (128, 64),
    16384: (256, 64),
    65536: (1024, 64),
}
SIMO, COMPILED, PRODUCTS = "SimO pairwise", "SimO pairwise, compiled", "bare matrix products"
KERNEL, BATCH = "SimO kernel", "SimO batch"
LINEAR = (SIMO, COMPILED, KERNEL, BATCH, PRODUCTS)  # everything else holds N x N matrices
LARGEST_COMPILED = 1024  # of more rows, a graph has the operators of each block of pairs
SECONDS_OF_A_TURN, MOST_TURNS = 0.05, 60
SQUARES = 8  # alive at once in a loss over all pairs, about


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.forms:
        forms(options)
        return
    here = environment("pytorch-metric-learning", "avalanche-lib")
    report = begun(options.out, "loss", here)
    if options.busy:
        busy(report, options)
        return
    for d in options.dims:
        for n in options.sizes:
            new = measure(n, d, options)
            print(f"\nN = {n}, d = {d}\n{table(new)}", flush=True)
            rows = [row for row in report["rows"] if (row["n"], row["d"]) != (n, d)] + new
            rows.sort(key=lambda row: (row["d"], row["n"]))
            report["commands"][f"N = {n}, d = {d}"] = command("loss")
            report |= {"rows": rows, "growth": growth(rows)}
            write(options.out, "loss", report, page(report))
            write_figure(options.out, "loss", lambda plt, rows=rows: draw(plt, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, help=f"of {list(SIZES)}, by default all")
    parser.add_argument("--dims", type=numbers)
    parser.add_argument("--busy", type=int, default=0, help="processes to measure beside")
    parser.add_argument("--forms", action="store_true", help="compare SimO's forms alone")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on a contestant")
    parser.add_argument("--memory-limit", type=float, default=6.0, help="GB, for N x N matrices")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
    few = options.busy or options.forms
    options.sizes = options.sizes or ([1024, 8192] if few else list(SIZES))
    options.dims = options.dims or ([128] if few else [16, 64, 128])
    unknown = set(options.sizes) - set(SIZES)
    if unknown:
        parser.error(f"--sizes: {sorted(unknown)} are not among {list(SIZES)}")
    return options


# --- the contestants ----------------------------------------------------------------------------


def contestants(classes: int, samples: int, d: int) -> dict[str, Callable[[Tensor, Tensor], Any]]:
    """Each takes (embeddings, labels); its loss is differentiated where it is one."""
    from avalanche.training.losses import SCRLoss
    from pytorch_metric_learning.losses import SupConLoss, TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner

    scr, supcon, triplet, miner = SCRLoss(), SupConLoss(), TripletMarginLoss(), BatchHardMiner()
    simo_compiled = torch.compile(simo_loss, dynamic=False, fullgraph=True)
    compiled = torch.compile(plain_supcon, dynamic=False)
    return {
        SIMO: simo_loss,
        COMPILED: lambda x, y: simo_compiled(x, y, samples_per_class=samples),
        KERNEL: lambda x, y: simo_loss(x, y, form="kernel"),
        BATCH: lambda x, y: simo_loss(x, y, form="batch"),
        PRODUCTS: lambda x, y: products(x, classes, samples),
        "SupCon": supcon,
        "SupCon compiled": compiled,
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
    same_rank = rank[:, None] == rank[None, :]
    means = e.view(int(rank.max()) + 1, -1, e.shape[1]).mean(0)

    def mean_over(e: Tensor, pairs: Tensor, similar: bool) -> Tensor:
        c = e @ e.T
        square = e.square().sum(1)
        d, o = (square[:, None] + square[None, :] - 2 * c).clamp_min(0), c.square()
        loss = d / (epsilon + o) if similar else o / (epsilon + d)
        pairs = torch.triu(pairs, diagonal=1)
        return torch.where(pairs, loss, 0).sum() / pairs.sum()

    every = torch.ones(len(means), len(means), dtype=torch.bool, device=x.device)
    return (
        mean_over(e, same_class, True)
        + mean_over(means, every, False)
        + mean_over(e, same_rank, False)
    )


# --- SimO's forms -------------------------------------------------------------------------------


def forms(options: argparse.Namespace) -> None:
    """Prints the least CPU milliseconds of a step of each form, and their ratio to the first."""
    torch.set_num_threads(1)
    settings: list[dict[str, Any]] = [
        {"form": form, **more}
        for more in ({}, {"leaning": 1 / 137})
        for form in ("pairwise", "kernel", "batch")
    ]
    settings.insert(2, {"form": "kernel", "bias": 0.1})
    for d in options.dims:
        for n in options.sizes:
            x, labels = batch(n, d, options.device)
            steps = {str(s): one_step(partial(simo_loss, **s), x, labels) for s in settings}
            for step in steps.values():
                step()
            times = one_by_one(steps, options.seconds * len(steps), clock=time.thread_time)
            least = {name: 1e3 * min(seconds) for name, seconds in times.items()}
            for name, ms in least.items():
                ratio = ms / least[str(settings[0])]
                print(f"N = {n}, d = {d}: {ms:7.2f} ms, {ratio:.2f} times, {name}", flush=True)


# --- beside other processes ---------------------------------------------------------------------


def busy(report: dict[str, Any], options: argparse.Namespace) -> None:
    """Adds the rows of a busy machine to the report."""
    from pytorch_metric_learning.losses import SupConLoss

    for d in options.dims:
        for n in options.sizes:
            x, labels = batch(n, d, options.device)
            steps = {SIMO: one_step(simo_loss, x, labels)}
            steps["SupCon"] = one_step(SupConLoss(), x, labels)
            for step in steps.values():
                step()
            with other_processes(options.busy):
                times = one_by_one(steps, options.seconds)
            ms = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
            row = {"n": n, "d": d, "processes": options.busy, "ms": ms}
            row["steps"] = {name: len(seconds) for name, seconds in times.items()}
            row["times_simo"] = ms["SupCon"] / ms[SIMO]
            print(f"N = {n}, d = {d}: {ms}, {row['times_simo']:.1f} times", flush=True)
            same = (n, d, options.busy)
            rows = report.get("busy", [])
            rows = [r for r in rows if (r["n"], r["d"], r["processes"]) != same] + [row]
            report["busy"] = sorted(rows, key=lambda r: (r["d"], r["n"], r["processes"]))
            report["commands"][f"busy, N = {n}, d = {d}"] = command("loss")
    write(options.out, "loss", report, page(report))


@contextmanager
def other_processes(number: int) -> Iterator[None]:
    endless = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(endless) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def one_by_one(
    steps: dict[str, Callable[[], None]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """The seconds of each step, at least three of each; all have equally many."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    while min(map(len, times.values())) < 3 or sum(map(sum, times.values())) < seconds:
        for name, step in steps.items():
            start = clock()
            step()
            times[name].append(clock() - start)
    return times


# --- measuring ----------------------------------------------------------------------------------


def batch(n: int, d: int, device: str) -> tuple[Tensor, Tensor]:
    """Random embeddings of the size's classes, and their labels."""
    classes, samples = SIZES[n]
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    return x.to(device).requires_grad_(), torch.arange(classes, device=device).repeat(samples)


def measure(n: int, d: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    torch.compiler.reset()  # compiled functions are compiled afresh only so many times
    classes, samples = SIZES[n]
    x, labels = batch(n, d, options.device)
    pairs_of_simo = (n * (samples - 1) + n * (classes - 1) + classes * (classes - 1)) // 2
    rows, steps = [], {}
    for name, loss in contestants(classes, samples, d).items():
        row = {"contestant": name, "n": n, "d": d, "classes": classes, "samples": samples}
        row["pairs"] = pairs_of_simo if name in LINEAR else n * (n - 1) // 2
        rows.append(row)
        if name not in LINEAR and SQUARES * 4 * n * n > options.memory_limit * 1e9:
            row["skipped"] = f"needs about {SQUARES * 4 * n * n / 1e9:.0f} GB"
            continue
        if name == COMPILED and n > LARGEST_COMPILED:
            row["skipped"] = "for small batches"
            continue
        steps[name] = one_step(loss, x, labels)
    times = take_turns(steps, options)
    for row in rows:
        if row["contestant"] in steps:
            turns = times[row["contestant"]]
            warm = [seconds for turn in turns for seconds in turn[1:] or turn]
            row["ms"] = 1e3 * statistics.median(warm)
            row["cold_ms"] = 1e3 * statistics.median(turn[0] for turn in turns)
            row["turns"] = len(turns)
            row["peak_mb"] = peak_bytes(steps[row["contestant"]], x.device) / 1e6
            if row["contestant"] == SIMO:
                row["operators"] = operators(steps[SIMO])
    return compared(rows)


def one_step(loss: Callable[[Tensor, Tensor], Any], x: Tensor, y: Tensor) -> Callable[[], None]:
    def step() -> None:
        x.grad = None
        value = loss(x, y)
        if value is not None:
            value.backward()
        synchronize(x.device)

    return step


def take_turns(
    steps: dict[str, Callable[[], None]], options: argparse.Namespace
) -> dict[str, list[list[float]]]:
    """The seconds of each step of each turn; slow contestants leave earlier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compilation has its own
        for step in steps.values():
            step()
    turns: dict[str, list[list[float]]] = {name: [] for name in steps}
    for _ in range(MOST_TURNS):
        going = [
            name
            for name in steps
            if len(turns[name]) < 3 or sum(map(sum, turns[name])) < options.seconds
        ]
        if not going:
            break
        for name in going:
            turns[name].append(one_turn(steps[name]))
    return turns


def one_turn(step: Callable[[], None]) -> list[float]:
    seconds: list[float] = []
    while sum(seconds) < SECONDS_OF_A_TURN:
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_bytes(step: Callable[[], None], device: torch.device) -> int:
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
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def operators(step: Callable[[], None], times: int = 10) -> list[dict[str, Any]]:
    """What a step spends its time on, the most expensive operator first, in milliseconds."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            step()
    spent = [
        {"operator": e.key, "calls": e.count / times, "ms": e.self_cpu_time_total / times / 1e3}
        for e in profiler.key_averages()
    ]
    return sorted(spent, key=lambda operator: -operator["ms"])


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    simo = next(row for row in rows if row["contestant"] == SIMO)
    for row in rows:
        if "ms" in row:
            row["times_simo"] = row["ms"] / simo["ms"]
            row["cold_times_simo"] = row["cold_ms"] / simo["cold_ms"]
            row["per_pair"] = row["times_simo"] * simo["pairs"] / row["pairs"]
            row["memory_times_simo"] = row["peak_mb"] / simo["peak_mb"]
    return rows


if __name__ == "__main__":
    main()
