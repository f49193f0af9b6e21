"""The tables and figures that accompany a run in MLflow, made from its arrays."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL.Image import Image

from simo_cl.metrics.over_seeds import mean_array
from simo_cl.results import ARRAYS, Run, read_arrays
from simo_cl.tracking import store
from simo_cl.tracking.heat_map import heat_map
from simo_cl.tracking.view import ACCURACY_IMAGE

Array = NDArray[np.float64]
_OWN = "accuracy/own"
_THUMBNAIL = (256, 256)


def fingerprint(runs: Sequence[Run]) -> str:
    """Changes whenever a file that artifacts are made from does."""
    names = ("config.yaml", "log.txt", "status.json", ARRAYS)
    files = [run.folder / name for run in runs for name in names]
    stats = [(file.parent.name, file.name, file.stat()) for file in files if file.is_file()]
    return ";".join(f"{run}/{name}:{s.st_size}:{s.st_mtime_ns}" for run, name, s in stats)


def write_run_artifacts(run: Run, to: Path, problems: list[str]) -> None:
    """Writes a run's configuration, log, metrics, matrices and their figures to `to`."""
    (to / "tables").mkdir()
    (to / "figures").mkdir()
    for name in ("config.yaml", "log.txt"):
        if (run.folder / name).is_file():
            shutil.copy(run.folder / name, to / name)
    if run.error:
        (to / "error.txt").write_text(run.error.traceback, encoding="utf-8")
    _write_metrics({f"experience {m.experience + 1}": m.metrics for m in run.history}, to)
    arrays = _read_arrays(run, problems)
    matrices = {n: _of_the_learnt(a) for n, a in arrays.items() if n.startswith("accuracy/")}
    matrices |= {name: a[-1] for name, a in arrays.items() if a.ndim == 3 and len(a)}
    for name, matrix in matrices.items():
        _write_matrix(name, matrix, to / "tables" / f"{name.replace('/', '_')}.csv")
    title = f"{run.label}, seed {run.seed}"
    if _OWN in matrices:
        _accuracy_picture(matrices[_OWN], title).save(to / "figures" / "accuracy.png")
    if "confusion" in matrices:
        confusion = matrices["confusion"]
        picture = heat_map(
            {"": confusion},
            title,
            low=0.0,
            high=max(float(np.nanmax(confusion)), 1.0),
            rows="true class",
            columns="predicted class",
            has_numbers=True,
        )
        picture.save(to / "figures" / "confusion.png")
    for group, low in (("class_mean_cos", -1.0), ("simo_similarity", 0.0)):
        spaces = {name: m for name, m in matrices.items() if name.startswith(f"{group}/")}
        if spaces:
            heat_map(spaces, title, low=low, high=1.0).save(to / "figures" / f"{group}.png")


def write_mean_artifacts(
    label: str, runs: Sequence[Run], to: Path, problems: list[str], *, started: float
) -> None:
    """Writes the last metrics of the seeds in `runs`, and their mean accuracy matrix, to `to`.

    Args:
        started: when the first of them did, Unix, seconds.
    """
    for name in ("tables", "figures", "images"):
        (to / name).mkdir()
    _write_metrics({f"seed {run.seed}": run.history[-1].metrics for run in runs if run.history}, to)
    over_seeds = mean_array([_read_arrays(run, problems).get(_OWN) for run in runs])
    if over_seeds is None:
        return
    mean = _of_the_learnt(over_seeds)
    _write_matrix(_OWN, mean, to / "tables" / "accuracy_own_mean.csv")
    seeds = "1 seed" if len(runs) == 1 else f"mean of {len(runs)} seeds"
    picture = _accuracy_picture(mean, f"{label}, {seeds}")
    picture.save(to / "figures" / "accuracy_mean.png")
    # Where the chart view looks, under the name that it reads (MLflow 3.17,
    # `MlflowClient.log_image`), but the same name each time: twice is once.
    stamp = f"timestamp+{store.milliseconds(started)}+{store.digest(ACCURACY_IMAGE)}"
    name = f"{ACCURACY_IMAGE}+step+0+{stamp}"
    picture.save(to / "images" / f"{name}.png")
    picture.thumbnail(_THUMBNAIL)
    picture.save(to / "images" / f"{name}+compressed.webp")


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


def _accuracy_picture(matrix: Array, title: str) -> Image:
    return heat_map(
        {"": matrix},
        title,
        low=0.0,
        high=1.0,
        rows="after training on experience",
        columns="accuracy on experience",
        first=1,
        has_numbers=True,
    )


def _write_metrics(columns: Mapping[str, Mapping[str, float]], to: Path) -> None:
    """A table with a row a metric."""
    table = pd.DataFrame({name: dict(metrics) for name, metrics in columns.items()}).sort_index()
    if not table.empty:
        table.to_csv(to / "tables" / "metrics.csv", index_label="metric", float_format="%.6g")


def _write_matrix(name: str, matrix: Array, file: Path) -> None:
    """A table with the row's and column's numbers, so that it reads without its code."""
    row, column, first = "class", "class", 0
    if name.startswith("accuracy/"):
        row, column, first = "after training on", "experience", 1
    elif name == "confusion":
        row, column = "true class", "predicted"
    numbers: Sequence[object] = range(first, first + len(matrix))
    if first and len(matrix) == 1:
        numbers = ["all"]
    columns = [f"{column} {number}" for number in range(first, first + matrix.shape[1])]
    table = pd.DataFrame(matrix, index=list(numbers), columns=columns)
    table.to_csv(file, index_label=row, float_format="%.6g")
