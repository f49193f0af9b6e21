"""Time and peak memory of the SimO loss, forward and backward, against its peers.

    python benchmarks/speed/loss.py                  # N = 130 to 65,536, d = 16, 64, 128
    python benchmarks/speed/loss.py --sizes 130,1024 --dims 128 --out /tmp/speed

All contestants of a size run in one process, in turn, and the median over the turns counts. Those
that compare all pairs are left out where their N x N matrices would pass --memory-limit. SimO
compares N(K + C)/2 pairs of the same batch, the peers N^2/2: each ratio of times stands beside the
ratio of times per pair. Writes loss.json, loss.md and loss.svg.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces every start and stop

import torch
import torch.nn.functional as F
from _common import COLOURS, about, environment, markdown, synchronize, write
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
SIMO, PRODUCTS = "SimO pairwise", "bare matrix products"
LINEAR = (SIMO, "SimO batch", PRODUCTS)  # everything else holds N x N matrices
SQUARES = 8  # alive at once in a loss over all pairs, about


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for d in options.dims:
        for n in options.sizes:
            new = measure(n, d, options)
            print(f"\nN = {n}, d = {d}\n{table(new)}", flush=True)
            rows += new
    about_it = environment("loss.py", "pytorch-metric-learning", "avalanche-lib")
    report = {"environment": about_it, "growth": growth(rows), "rows": rows}
    write(options.out, "loss", report, page(report), lambda plt: draw(plt, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, default=list(SIZES), help=f"of {list(SIZES)}")
    parser.add_argument("--dims", type=numbers, default=[16, 64, 128])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on a contestant")
    parser.add_argument("--memory-limit", type=float, default=6.0, help="GB, for N x N matrices")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    options = parser.parse_args()
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
    compiled = torch.compile(plain_supcon, dynamic=False)
    return {
        SIMO: simo_loss,
        "SimO batch": lambda x, y: simo_loss(x, y, form="batch"),
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


# --- measuring ----------------------------------------------------------------------------------


def measure(n: int, d: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    classes, samples = SIZES[n]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator).to(options.device).requires_grad_()
    labels = torch.arange(classes, device=options.device).repeat(samples)
    pairs_of_simo = (n * (samples - 1) + n * (classes - 1) + classes * (classes - 1)) // 2
    rows, steps = [], {}
    for name, loss in contestants(classes, samples, d).items():
        row = {"contestant": name, "n": n, "d": d, "classes": classes, "samples": samples}
        row["pairs"] = pairs_of_simo if name in LINEAR else n * (n - 1) // 2
        rows.append(row)
        if name not in LINEAR and SQUARES * 4 * n * n > options.memory_limit * 1e9:
            row["skipped"] = f"needs about {SQUARES * 4 * n * n / 1e9:.0f} GB"
            continue
        steps[name] = one_step(loss, x, labels)
    times = take_turns(steps, options)
    for row in rows:
        if row["contestant"] in steps:
            row["ms"] = 1e3 * statistics.median(times[row["contestant"]])
            row["turns"] = len(times[row["contestant"]])
            row["peak_mb"] = peak_bytes(steps[row["contestant"]], x.device) / 1e6
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
) -> dict[str, list[float]]:
    """Interleaved, so that what else the machine does hits all; slow ones leave earlier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compilation has its own
        for step in steps.values():
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(200):
        going = [
            name for name in steps if sum(times[name]) < options.seconds or len(times[name]) < 3
        ]
        if not going:
            break
        for name in going:
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    return times


def peak_bytes(step: Callable[[], None], device: torch.device) -> int:
    """The most that a step held at once beside what there was before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    simo = next(row for row in rows if row["contestant"] == SIMO)
    for row in rows:
        if "ms" in row:
            row["times_simo"] = row["ms"] / simo["ms"]
            row["per_pair"] = row["times_simo"] * simo["pairs"] / row["pairs"]
            row["memory_times_simo"] = row["peak_mb"] / simo["peak_mb"]
    return rows


def growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The exponent of time ~ N^p from N = 1,024 on, and of the pairs that SimO compares."""
    series: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for row in rows:
        if row["n"] >= 1024 and "ms" in row:
            point = math.log(row["n"]), math.log(row["ms"]), math.log(row["pairs"])
            series.setdefault((row["contestant"], row["d"]), []).append(point)
    fits = []
    for (name, d), points in series.items():
        if len(points) >= 2:
            ns, ms, pairs = zip(*points, strict=True)
            slope = statistics.linear_regression
            fits.append(
                {
                    "contestant": name,
                    "d": d,
                    "time": slope(ns, ms).slope,
                    "pairs": slope(ns, pairs).slope,
                }
            )
    return fits


# --- what comes out -----------------------------------------------------------------------------


def table(rows: list[dict[str, Any]]) -> str:
    header = ["", "ms", "times SimO", "pairs", "times SimO per pair", "peak MB"]
    return markdown([*header, "times SimO's memory"], map(cells, rows))


def cells(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["contestant"], row["skipped"], "", f"{row['pairs']:,}", "", "", ""]
    return [
        row["contestant"],
        f"{row['ms']:.3g}",
        f"{row['times_simo']:.2f}",
        f"{row['pairs']:,}",
        f"{row['per_pair']:.2f}",
        f"{row['peak_mb']:.3g}",
        f"{row['memory_times_simo']:.1f}",
    ]


def page(report: dict[str, Any]) -> str:
    parts = ["# Speed of the loss, forward and backward", about(report["environment"])]
    parts.append("![](loss.svg)")
    sizes = sorted({(row["d"], row["n"]) for row in report["rows"]}, reverse=True)
    for d, n in sizes:
        rows = [row for row in report["rows"] if (row["d"], row["n"]) == (d, n)]
        shape = f"{rows[0]['classes']} classes of {rows[0]['samples']}"
        parts += [f"## N = {n:,} ({shape}), d = {d}", table(rows)]
    if report["growth"]:
        fits = [
            [fit["contestant"], str(fit["d"]), f"{fit['time']:.2f}", f"{fit['pairs']:.2f}"]
            for fit in report["growth"]
        ]
        fitted = markdown(["", "d", "time ~ N^", "pairs ~ N^"], fits)
        parts += ["## Growth from N = 1,024 on", fitted]
    return "\n\n".join(parts) + "\n"


def draw(plt: Any, rows: list[dict[str, Any]]) -> Any:
    widest = max(row["d"] for row in rows)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = dict.fromkeys(row["contestant"] for row in rows)
    for name, colour in zip(names, COLOURS, strict=True):
        own = [r for r in rows if r["contestant"] == name and r["d"] == widest and "ms" in r]
        for axes, key in zip(panels, ("ms", "peak_mb"), strict=True):
            points = [(row["n"], row[key]) for row in own if row[key] > 0]
            axes.loglog(*zip(*points, strict=True), "o-", ms=3, color=colour, label=name)
    for axes, label in zip(panels, ("ms, forward and backward", "peak MB"), strict=True):
        axes.set(xlabel=f"N (d = {widest})", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
