"""What the speed benchmarks share: taking turns, the machine, tables and files."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

COLOURS = ["#0072b2", "#56b4e9", "#999999", "#d55e00", "#e69f00", "#cc79a7", "#009e73", "#000000"]
COLOURS += ["#b8a800"]


def synchronize(device: torch.device | str) -> None:
    """Waits for what a GPU still has to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def environment(*packages: str) -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", *packages)},
    }


def command(name: str) -> str:
    """What was called; where the data lie is this machine's affair."""
    words = ["DIR" if before == "--data-root" else word for before, word in pairwise(sys.argv)]
    return shlex.join(["python", f"benchmarks/speed/{name}.py", *words])


def begun(out: Path, name: str, here: dict[str, Any]) -> dict[str, Any]:
    """The report of an earlier call in the environment `here`; else an empty one.

    What it keeps of that call was so measured in the environment that it names. ``commands`` has
    the command of each part.
    """
    path = out / f"{name}.json"
    if path.exists():
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if report["environment"] == here:
            return report
        print(f"{path} is of another machine, versions or data, and is replaced")
    return {"environment": here, "commands": {}, "rows": []}


def about(environment: dict[str, Any]) -> str:
    """The environment as one line."""
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def write(out: Path, name: str, report: dict[str, Any], page: str) -> None:
    """Writes ``<name>.json`` and ``.md``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    print(f"\nwritten to {out}")


def write_figure(out: Path, name: str, draw: Callable[[Any], Any]) -> None:
    """Writes ``<name>.svg`` and ``.png``; ``draw(pyplot)`` gives the figure."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.fonttype"] = "none"  # text, not outlines: a tenth of the size
    figure = draw(plt)
    figure.savefig(out / f"{name}.svg", metadata={"Date": None})
    figure.savefig(out / f"{name}.png", dpi=150)
    plt.close(figure)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
