"""Tables and figure on the kernel form in docs/loss.md: `python docs/figures/kernel_optima.py`.

Prints the tables as Markdown and draws kernel_optima.svg, in a minute and a half on one idle core.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import normalize

from simo_cl import simo_loss, simo_terms

CLASSES, SAMPLES, DIMENSION = 8, 32, 16  # of the authors' batches
EPSILONS = (0.01, 0.1, 1.0, 10.0)


def main() -> None:
    torch.set_num_threads(1)
    print(optima(), collapsed_point(), networks(), sep="\n\n")
    plt.rcParams["svg.hashsalt"] = "simo-cl"
    draw(Path(__file__).with_name("kernel_optima.svg"))


# --- the optima ---------------------------------------------------------------------------------


class Optimum(NamedTuple):
    """loss: the least found; cosines: of its classes, sorted; within: the least of one class."""

    loss: float
    cosines: Tensor
    within: float


def descend(
    classes: int, d: int, *, starts: int = 5, samples: int = 2, **settings: float
) -> Optimum:
    """The best of some descents of the whole loss on free points; classes begin near each other."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat(samples)
    loss, best = math.inf, torch.empty(0)

    def value_and_gradient(numbers):
        x = torch.from_numpy(numbers).view(len(labels), d).requires_grad_()
        value = simo_loss(x, labels, form="kernel", **settings)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.flatten().numpy()

    for _ in range(starts):
        shape = (classes, d)
        centres = normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=1)
        start = centres.repeat(samples, 1)
        start += 0.1 * torch.randn(start.shape, generator=generator, dtype=torch.float64)
        options = {"ftol": 1e-14, "gtol": 1e-9}
        found = minimize(
            value_and_gradient, start.flatten(), jac=True, method="L-BFGS-B", options=options
        )
        if found.fun < loss:
            loss, best = float(found.fun), torch.from_numpy(found.x)
    e = normalize(best.view(samples, classes, d), dim=2)
    i, j = torch.triu_indices(classes, classes, offset=1)
    within = (e[0] * e[1:]).sum(2).min()
    return Optimum(loss, (e[0] @ e[0].T)[i, j].sort().values, float(within))


def closed_form(classes: int, d: int, bias: float) -> Tensor:
    """The cosines of the classes: equal ones, or those of simplices orthogonal to each other."""
    if classes <= d:
        groups = [classes]
        within = -min(bias, 1 / (classes - 1))
        gram = torch.full((classes, classes), within, dtype=torch.float64)
    else:
        number = classes - d
        groups = [classes // number + (g < classes % number) for g in range(number)]
        simplices = [torch.full((n, n), -1 / (n - 1), dtype=torch.float64) for n in groups]
        gram = torch.block_diag(*simplices)
    i, j = torch.triu_indices(classes, classes, offset=1)
    return gram[i, j].sort().values


def loss_at(cosines: Tensor, epsilon: float, bias: float, leaning: float) -> float:
    """Of classes that are points with these cosines."""
    k = (cosines + bias) ** 2 / (epsilon + 2 - 2 * cosines)
    similar = 1 / (1 + (1 + bias) ** 2 / epsilon)
    return similar + 2 * float(((1 + k) ** (1 - 2 * leaning)).mean())


def optima() -> str:
    """A row for all settings of ε and leaning that have the same cosines."""
    lines = [
        "| C, d | b | (ε, leaning) | cosines found | loss found | above the closed form by |",
        "|---|---|---|---|---|---|",
    ]
    for classes, d in ((4, 6), (5, 4), (7, 4), (8, 4)):
        for bias in (0.0, 0.5 / (classes - 1), 1 / (classes - 1), 1.0):
            rows: dict[str, list[tuple[str, str, str]]] = {}
            more = [(10.0, 0.0), (0.1, 0.25)] if bias == 0 else []
            for epsilon, leaning in [(0.1, 0.0), (1.0, 1 / 137), *more]:
                setting = {"epsilon": epsilon, "bias": bias, "leaning": leaning}
                found = descend(classes, d, **setting)
                assert found.within > 0.9999
                above = found.loss - loss_at(closed_form(classes, d, bias), **setting)
                text = f"({epsilon:g}, {leaning:.2g})", f"{found.loss:.4f}", f"{above + 0:.4f}"
                rows.setdefault(counted(found.cosines), []).append(text)
            for cosines, texts in rows.items():
                settings, loss, above = (" ".join(part) for part in zip(*texts, strict=True))
                lines.append(
                    f"| {classes}, {d} | {bias:.3f} | {settings} | {cosines} | {loss} | {above} |"
                )
    return "\n".join(lines).replace("-0.0000", "0.0000")


def counted(cosines: Tensor) -> str:
    """The cosines to two digits, with how many there are of each."""
    rounded = ((cosines * 100).round() / 100 + 0.0).unique(return_counts=True)
    return ", ".join(f"{n} × {c:.2f}" for c, n in zip(*(x.tolist() for x in rounded), strict=True))


# --- the collapsed point ------------------------------------------------------------------------


def collapsed_point() -> str:
    """The gradient of a pair, over its angle, where that is small."""
    lines = [
        "| ε | b | similar pulls | dissimilar pushes | their ratio | class-blind optimum, 8 × 32 |",
        "|---|---|---|---|---|---|",
    ]
    for bias in (0.0, 0.2):
        for epsilon in EPSILONS:
            angle = 1e-3 * math.sqrt(epsilon)
            points = [[1.0, 0.0], [math.cos(angle), math.sin(angle)]]
            pull, push = (
                gradient_over_angle(
                    torch.tensor(points, dtype=torch.float64), labels, epsilon, bias
                )
                for labels in ([0, 0], [0, 1])
            )
            c = class_blind_optimum(epsilon, bias)
            numbers = f"{pull:.3g} | {push:.3g} | {push / pull:.3g} | {c:.2f}"
            lines.append(f"| {epsilon:g} | {bias:g} | {numbers} |")
    return "\n".join(lines)


def gradient_over_angle(pair: Tensor, labels: list[int], epsilon: float, bias: float) -> float:
    pair.requires_grad_()
    terms = simo_terms(pair, torch.tensor(labels), form="kernel", epsilon=epsilon, bias=bias)
    part = terms.similar if labels == [0, 0] else terms.dissimilar
    (gradient,) = torch.autograd.grad(part, pair)
    angle = torch.linalg.vector_norm(pair.detach()[0] - pair.detach()[1])
    return float(torch.linalg.vector_norm(gradient[0]) / angle)


def class_blind(c: Tensor, epsilon: float, bias: float) -> Tensor:
    """The summed loss, over its pairs, if all pairs of a batch have the cosine c."""
    k = (c + bias) ** 2 / (epsilon + 2 - 2 * c)
    similar, dissimilar = (SAMPLES - 1), (CLASSES - 1)
    return (similar / (1 + k) + dissimilar * (1 + k)) / (similar + dissimilar)


def class_blind_optimum(epsilon: float, bias: float) -> float:
    c = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    return float(c[class_blind(c, epsilon, bias).argmin()])


# --- a network ----------------------------------------------------------------------------------


def networks() -> str:
    """Digits in the authors' batches: mean cosine of class means and effective rank, both as the
    median over three seeds."""
    lines = [
        "| ε | AdamW, clipped | SGD, clipped | SGD, not clipped |",
        "|---|---|---|---|",
    ]
    for epsilon in EPSILONS:
        cells = []
        for kind, clip in (("adamw", True), ("sgd", True), ("sgd", False)):
            runs = torch.tensor([trained(epsilon, kind, clip, seed) for seed in range(3)])
            cosine, rank = runs.median(0).values.tolist()
            cells.append(f"{cosine:+.2f}, {rank:.1f}")
        lines.append(f"| {epsilon:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def trained(
    epsilon: float, kind: str, clip: bool, seed: int, steps: int = 200
) -> tuple[float, float]:
    torch.manual_seed(seed)
    images, labels = (torch.from_numpy(x) for x in load_digits(return_X_y=True))
    images = images.float() / 16
    widths = [64, 128, 128, 128, 128]
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(128, DIMENSION))
    optimizer = (
        torch.optim.AdamW(network.parameters(), lr=3e-4)
        if kind == "adamw"
        else torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    )
    rows = [(labels == c).nonzero().flatten() for c in range(10)]
    for _ in range(steps):
        classes = torch.randperm(10)[:CLASSES].tolist()
        batch = torch.cat([rows[c][torch.randint(len(rows[c]), (SAMPLES,))] for c in classes])
        loss = simo_loss(
            network(images[batch]), labels[batch], form="kernel", epsilon=epsilon, reduction="sum"
        )
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        e = normalize(network(images), dim=1)
    means = normalize(torch.stack([e[of_class].mean(0) for of_class in rows]), dim=1)
    i, j = torch.triu_indices(10, 10, offset=1)
    share = torch.linalg.svdvals(e)
    rank = torch.special.entr(share / share.sum()).sum().exp()
    return float((means @ means.T)[i, j].mean()), float(rank)


# --- the figure ---------------------------------------------------------------------------------


def draw(path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    line = torch.linspace(0, 0.6, 61)
    for classes, colour in ((3, "#0072b2"), (4, "#d55e00"), (6, "#009e73")):
        left.plot(line, -line.clamp(max=1 / (classes - 1)), color=colour, linewidth=1)
        biases = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
        found = [float(descend(classes, 6, starts=1, bias=b).cosines.mean()) for b in biases]
        left.plot(biases, found, "o", color=colour, markersize=4, label=f"{classes} classes")
    left.set(xlabel="bias b", ylabel="cosine of classes")
    left.legend(frameon=False)
    c = torch.linspace(-0.2, 1, 1201, dtype=torch.float64)
    for epsilon, colour in zip(EPSILONS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True):
        loss = class_blind(c, epsilon, 0.0)
        right.plot(c, loss, color=colour, label=f"ε = {epsilon:g}")
        right.plot(c[loss.argmin()], loss.min(), "o", color=colour, markersize=4, clip_on=False)
    right.set(xlabel="cosine of all pairs", ylabel="loss a pair, 8 × 32 summed", ylim=(0.75, 1.5))
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
