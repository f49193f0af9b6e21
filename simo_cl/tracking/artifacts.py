"""The tables and figures that accompany a run in MLflow, made from its arrays."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simo_cl.metrics.over_seeds import mean_array
from simo_cl.results import ARRAYS, read_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from simo_cl.results import Run

Array = NDArray[np.float64]
OWN = "accuracy/own"
MEAN_ACCURACY_FIGURE = "figures/accuracy_mean.png"
# Inches: a square for each matrix, and what the key of its colours takes.
_PANEL, _SCALE = 4.0, 0.6


def fingerprint(runs: Sequence[Run]) -> str:
    """Changes whenever a file that artifacts are made from does."""
    names = ("config.yaml", "log.txt", "status.json", "arrays.npz")
    files = [run.folder / name for run in runs for name in names]
    stats = [(file.parent.name, file.name, file.stat()) for file in files if file.is_file()]
    return ";".join(f"{run}/{name}:{s.st_size}:{s.st_mtime_ns}" for run, name, s in stats)


def write_run_artifacts(run: Run, to: Path, problems: list[str]) -> None:
    """Writes a run's configuration, log, metrics, matrices and their figures to `to`."""
    for name in ("config.yaml", "log.txt"):
        if (run.folder / name).is_file():
            shutil.copy(run.folder / name, to / name)
    if run.error:
        (to / "error.txt").write_text(run.error.traceback, encoding="utf-8")
    by_experience = {f"experience {line.experience + 1}": line.metrics for line in run.history}
    _write_metrics(by_experience, to / "tables" / "metrics.csv")
    arrays = _read_arrays(run, problems)
    matrices = {
        name: _of_the_learnt(array)
        for name, array in arrays.items()
        if name.startswith("accuracy/")
    }
    matrices |= {
        name: array[-1] for name, array in arrays.items() if array.ndim == 3 and len(array)
    }
    for name, matrix in matrices.items():
        _write_matrix(name, matrix, to / "tables" / f"{name.replace('/', '_')}.csv")
    title = f"{run.label}, seed {run.seed}"
    if OWN in matrices:
        _save(_accuracy_figure(matrices[OWN], title), to / "figures" / "accuracy.png")
    if "confusion" in matrices:
        _save(_confusion_figure(matrices["confusion"], title), to / "figures" / "confusion.png")
    for group, low in (("class_mean_cos", -1.0), ("simo_similarity", 0.0)):
        panels = {name: m for name, m in matrices.items() if name.startswith(f"{group}/")}
        if panels:
            figure = _geometry_figure(panels, title, low=low)
            _save(figure, to / "figures" / f"{group}.png")


def write_mean_artifacts(label: str, runs: Sequence[Run], to: Path, problems: list[str]) -> None:
    """Writes the last metrics of the seeds in `runs`, and their mean accuracy matrix, to `to`."""
    by_seed = {f"seed {run.seed}": run.history[-1].metrics for run in runs if run.history}
    _write_metrics(by_seed, to / "tables" / "metrics.csv")
    over_seeds = mean_array([_read_arrays(run, problems).get(OWN) for run in runs])
    if over_seeds is None:
        return
    mean = _of_the_learnt(over_seeds)
    _write_matrix(OWN, mean, to / "tables" / "accuracy_own_mean.csv")
    seeds = "1 seed" if len(runs) == 1 else f"mean of {len(runs)} seeds"
    _save(_accuracy_figure(mean, f"{label}, {seeds}"), to / MEAN_ACCURACY_FIGURE)


def _read_arrays(run: Run, problems: list[str]) -> dict[str, Array]:
    if not (run.folder / ARRAYS).is_file():
        return {}
    try:
        arrays = read_arrays(run.folder / ARRAYS)
        return {name: array.astype(np.float64) for name, array in arrays.items()}
    except ValueError as error:
        problems.append(f"{run.name}: no tables or figures, {error}")
        return {}


def _of_the_learnt(matrix: Array) -> Array:
    """An accuracy matrix whose experiences to come are NaN; of a joint run, which has one row, all
    are learnt."""
    if len(matrix) == 1:
        return matrix
    to_come = np.triu(np.ones(matrix.shape, dtype=bool), 1)
    return np.where(to_come, np.nan, matrix)


def _write_metrics(columns: Mapping[str, Mapping[str, float]], file: Path) -> None:
    """A CSV with a row a metric."""
    names = sorted({name for metrics in columns.values() for name in metrics})
    rows = [[name, *(metrics.get(name, "") for metrics in columns.values())] for name in names]
    _write_table(["metric", *columns], rows, file)


def _write_matrix(name: str, matrix: Array, file: Path) -> None:
    """A CSV with the row's and column's numbers, so that it reads without its code."""
    row, column, first = "class", "class", 0
    if name.startswith("accuracy/"):
        row, column, first = "after training on", "experience", 1
    elif name == "confusion":
        row, column = "true class", "predicted"
    header = [row, *(f"{column} {number}" for number in range(first, first + matrix.shape[1]))]
    numbers: Sequence[object] = range(first, first + len(matrix))
    if first and len(matrix) == 1:
        numbers = ["all"]
    rows = [[number, *values] for number, values in zip(numbers, matrix, strict=True)]
    _write_table(header, rows, file)


def _write_table(header: Sequence[str], rows: Sequence[Sequence[object]], file: Path) -> None:
    if not rows:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        for row in rows:
            writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def _accuracy_figure(matrix: Array, title: str) -> Figure:
    figure = _blank_figure(1, title)
    (axes,) = figure.axes
    image = _heat_map(axes, matrix, low=0.0, high=1.0, first=1)
    if len(matrix) == 1:
        axes.set_yticks([0], ["all"])
    _write_values(axes, matrix, middle=0.5)
    axes.set_xlabel("accuracy on experience")
    axes.set_ylabel("after training on experience")
    _add_scale(figure, image)
    return figure


def _confusion_figure(matrix: Array, title: str) -> Figure:
    figure = _blank_figure(1, title)
    (axes,) = figure.axes
    highest = max(float(np.nanmax(matrix)), 1.0)
    image = _heat_map(axes, matrix, low=0.0, high=highest)
    _write_values(axes, matrix, middle=highest / 2)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    _add_scale(figure, image)
    return figure


def _geometry_figure(panels: Mapping[str, Array], title: str, *, low: float) -> Figure:
    """One kind of class-by-class matrix in each of the spaces, on one scale from `low` to 1."""
    figure = _blank_figure(len(panels), title)
    for axes, (name, matrix) in zip(figure.axes, panels.items(), strict=True):
        image = _heat_map(axes, matrix, low=low, high=1.0)
        axes.set_title(name, fontsize=9)
    _add_scale(figure, image)
    return figure


def _blank_figure(panels: int, title: str) -> Figure:
    # A bare Figure, without pyplot: no global state, so any thread may draw.
    from matplotlib.figure import Figure

    # Places of its own making: a layout engine measures every text, and draws everything twice.
    width, height = _PANEL * panels + _SCALE, _PANEL
    figure = Figure(figsize=(width, height))
    for number in range(panels):
        left = number * _PANEL + 0.6
        figure.add_axes((left / width, 0.5 / height, 3.1 / width, 3.1 / height))
    figure.suptitle(title, fontsize=10)
    return figure


def _add_scale(figure: Figure, image: AxesImage) -> None:
    width, height = figure.get_size_inches()
    place = figure.add_axes(((width - 0.75) / width, 0.8 / height, 0.13 / width, 2.5 / height))
    figure.colorbar(image, cax=place)


def _heat_map(axes: Axes, matrix: Array, *, low: float, high: float, first: int = 0) -> AxesImage:
    """The matrix as colours, NaN as none, with rows and columns counted from `first`."""
    for which, length in ((axes.set_xticks, matrix.shape[1]), (axes.set_yticks, matrix.shape[0])):
        # Few: making a tick takes longer than drawing it.
        ticks = range(0, length, -(-length // 6))
        which(ticks, [str(tick + first) for tick in ticks])
    return axes.imshow(matrix, vmin=low, vmax=high, cmap="RdBu_r" if low < 0 else "viridis")


def _write_values(axes: Axes, matrix: Array, *, middle: float) -> None:
    """Numbers in the cells of a small matrix, readable on viridis, which is light above."""
    if matrix.size > 144:
        return
    size = 8 if max(matrix.shape) <= 6 else 6
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            axes.text(
                column,
                row,
                f"{value:.2f}" if np.nanmax(matrix) <= 1.0 else f"{value:.0f}",
                fontsize=size,
                color="black" if value > middle else "white",
                horizontalalignment="center",
                verticalalignment="center",
            )


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
