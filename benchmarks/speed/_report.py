"""What the speed benchmarks share: options, data, turns, and a report that outlasts one call."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
import yaml

from simo_cl.harness.environment import cpu_name
from simo_cl.streams import DataSet, Images

Row = dict[str, Any]
T = TypeVar("T")

COLOURS = ["#0072b2", "#56b4e9", "#999999", "#d55e00", "#e69f00", "#cc79a7", "#009e73", "#000000"]
COLOURS += ["#b8a800", "#7a4a2b"]


def option_parser(description: str, parts: Sequence[str] = ()) -> argparse.ArgumentParser:
    """With the options that benchmarks share; ``--only`` where there are parts to choose from."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    if parts:
        parser.add_argument("--only", type=among(parts), default=parts, help=f"of {parts}")
    parser.add_argument("--quick", action="store_true", help="only see whether everything runs")
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    return parser


def among(allowed: Sequence[T]) -> Callable[[str], list[T]]:
    """The type of an option that takes some of these values, separated by commas."""

    def chosen(text: str) -> list[T]:
        values = list_of(type(allowed[0]))(text)
        if unknown := set(values) - set(allowed):
            raise argparse.ArgumentTypeError(f"{sorted(unknown)} are not among {list(allowed)}")
        return values

    return chosen


def list_of(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """The type of an option that takes values separated by commas."""
    return lambda text: [kind(word) for word in text.split(",")]


def hide_warnings() -> None:
    """Those of libraries to their developers; Avalanche repeats some at every experience, whatever
    the filters say."""
    warnings.showwarning = lambda *_, **__: None


def random_data(per_class: int) -> DataSet:
    """Noise of CIFAR-10's shape."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> Images:
        shape = (10 * count, 3, 32, 32)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.arange(10).repeat_interleave(count))

    names, note = tuple("0123456789"), f"random images, {per_class:,} a class"
    return DataSet("random", images(per_class), images(max(10, per_class // 5)), names, note)


def take_turns(turns: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each contestant's turns gave; interleaved, so that other load on the machine falls on
    all of them."""
    given: dict[str, list[T]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            given[name].append(turn())
    return given


class Report:
    """``<name>.json``, ``.md``, ``.svg`` and ``.png`` of a benchmark, as many as it has.

    It keeps what an earlier call has measured in the same environment and this one does not.

    Args:
        name: of the script and the files.
        out: the folder.
        page: the parts of the page, its title first, from what has been measured.
        draw: ``draw(pyplot, measured)`` gives the figure.
        packages: whose versions are part of the environment.
        environment: what else is.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        page: Callable[[Row], Iterable[str]],
        draw: Callable[[Any, Row], Any] | None = None,
        packages: Sequence[str] = (),
        **environment: Any,
    ) -> None:
        self._name, self._out, self._page, self._draw = name, out, page, draw
        here = {
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", *packages)},
            **environment,
        }
        self.measured: Row = {"environment": here, "commands": {}, "rows": []}
        path = out / f"{name}.json"
        if path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            if earlier["environment"] == here:
                self.measured = earlier
            else:
                print(f"{path} is of another machine, versions or data, and is replaced")

    def add(self, part: str, **measured: Any) -> None:
        """Notes what else has been measured, with the command that did, and writes the files."""
        # Where the data lie is this machine's affair.
        words = ["DIR" if before == "--data-root" else word for before, word in pairwise(sys.argv)]
        command = shlex.join(["python", f"benchmarks/speed/{self._name}.py", *words])
        self.measured["commands"][part] = command
        self.measured |= measured
        self.write()

    def add_rows(self, part: str, rows: list[Row], same: Sequence[str], order: Any) -> None:
        """Adds rows in place of those with the same values of some keys, and sorts all by a key
        function."""
        new = [[row.get(key) for key in same] for row in rows]
        kept = [r for r in self.measured["rows"] if [r.get(key) for key in same] not in new]
        self.add(part, rows=sorted(kept + rows, key=order))

    def write(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        path, text = self._out / self._name, json.dumps(self.measured, indent=1)
        path.with_suffix(".json").write_text(f"{text}\n", encoding="utf-8")
        title, *parts = self._page(self.measured)
        commands = [f"`{line}`" for line in dict.fromkeys(self.measured["commands"].values())]
        parts = [f"# {title}", about(self.measured["environment"]), *commands, *parts]
        text = "\n\n".join(filter(None, parts))
        path.with_suffix(".md").write_text(f"{text}\n", encoding="utf-8")
        if self._draw is not None:
            import matplotlib

            matplotlib.use("svg")
            import matplotlib.pyplot as plt

            plt.rcParams["svg.fonttype"] = "none"  # text, not outlines: a tenth of the size
            plt.rcParams["svg.hashsalt"] = self._name  # the same numbers, the same file
            plt.rcParams["axes.spines.top"] = plt.rcParams["axes.spines.right"] = False
            figure = self._draw(plt, self.measured)
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
            figure.savefig(path.with_suffix(".png"), dpi=150)
            plt.close(figure)


def about(environment: Mapping[str, Any]) -> str:
    """The environment as one line."""
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value)


def table(rows: Any, hide: Sequence[str] = (), **formats: str) -> str:
    """A line a row, in Markdown; where a value is missing, the cell is empty.

    Args:
        rows: what :class:`pandas.DataFrame` takes; its columns are the headings.
        hide: columns to leave out. Those without a value are left out anyway, and single turns.
        formats: of columns; by default, numbers have three digits.
    """
    frame = pd.DataFrame(rows, dtype=object).drop(columns=["turns", *hide], errors="ignore")
    frame = frame.dropna(axis=1, how="all")
    lines = [
        [_cell(v, formats.get(key)) for key, v in row.items()] for row in frame.to_dict("records")
    ]
    heading = [str(key).replace("_", " ") for key in frame]
    return "\n".join(
        f"| {' | '.join(line)} |" for line in [heading, ["---"] * len(heading), *lines]
    )


def _cell(value: Any, shown: str | None) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if pd.isna(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (shown or ("{:.3g}" if isinstance(value, float) else "{}")).format(value)


def bounds_table(name: str, rows: Sequence[Row]) -> str:
    """A line for each bound in bounds.yaml that a row of the benchmark falls under: the worst
    value, of each precision where rows have one, beside the limit."""
    bounds = yaml.safe_load(Path(__file__).with_name("bounds.yaml").read_text(encoding="utf-8"))
    everything = pd.DataFrame([{"precision": ""} | row for row in rows])
    lines = []
    for bound in bounds[name]:
        where, value, shown = bound["where"], bound["value"], bound.get("shown", "{:.2f}")
        frame = everything.reindex(columns=[*where, value, "precision"])
        meant = frame[frame[list(where)].isin(where).all(axis=1)].dropna()
        by_precision = meant.groupby("precision", sort=False)[value]
        worst = by_precision.max() if "most" in bound else by_precision.min()
        if worst.empty:
            continue
        values = [shown.format(v) + (f" ({name})" if name else "") for name, v in worst.items()]
        line = {"measured": bound["measured"], "bound": "", "worst": ", ".join(values), "kept": ""}
        for side in {"least", "most"} & set(bound):
            kept = worst >= bound[side] if side == "least" else worst <= bound[side]
            line["bound"] = f"at {side} {shown.format(bound[side])}"
            line["kept"] = "yes" if kept.all() else "partly" if kept.any() else "no"
        lines.append(line)
    return table(lines) if lines else ""
