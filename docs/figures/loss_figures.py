"""Draw the figures of docs/loss.md: `python docs/figures/loss_figures.py`."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch

from simo_cl.losses import simo_terms


def draw_antipodal(path: Path, epsilon: float = 0.1) -> None:
    cosines = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    loss = 2 * (1 - cosines) / (epsilon + cosines**2)
    barrier = 1 - math.sqrt(1 + epsilon)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(cosines, loss, color="#0072b2", label="pairwise")
    below = cosines[cosines <= 0]
    left.plot(below, 2 * (1 - below) / epsilon, color="#009e73", linestyle=":", label="rectified")
    left.legend(frameon=False)
    left.axvline(barrier, color="#555555", linewidth=0.8, linestyle="--")
    left.annotate(f"c* = {barrier:.3f}", (barrier, 3), xytext=(-0.75, 15), color="#555555")
    left.set(xlabel="cosine of a same-class pair", ylabel=f"similar loss, ε = {epsilon}")
    for degrees in (30, 60, 80, 90, 92, 94, 100, 120, 150):
        path_of_pair = descend(math.radians(degrees), epsilon)
        colour = "#0072b2" if path_of_pair[-1] > 0 else "#d55e00"
        right.plot(path_of_pair, color=colour, linewidth=1.2)
    right.axhline(barrier, color="#555555", linewidth=0.8, linestyle="--")
    right.set(xlabel="descent step", ylabel="cosine", ylim=(-1.05, 1.05))
    left.set_xticks([-1, -0.5, 0, 0.5, 1])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def descend(angle: float, epsilon: float, steps: int = 200) -> list[float]:
    """The cosine of a pair that starts `angle` apart, by steps of equal length."""
    pair = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    cosines = []
    for _ in range(steps):
        pair.requires_grad_()
        loss = simo_terms(pair, torch.tensor([0, 0]), epsilon=epsilon).similar
        (gradient,) = torch.autograd.grad(loss, pair)
        pair = torch.nn.functional.normalize(
            pair.detach() - 0.02 * gradient / gradient.norm().clamp_min(0.1), dim=1
        )
        cosines.append(float(pair[0] @ pair[1]))
    return cosines


if __name__ == "__main__":
    plt.rcParams["svg.hashsalt"] = "simo-cl"
    draw_antipodal(Path(__file__).with_name("antipodal.svg"))
