"""The numbers of a suite as data frames, and their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pandas as pd

from simo_cl.metrics import over_seeds
from simo_cl.report.bootstrap import Estimate, interquartile_mean
from simo_cl.report.data_sets import Ranking, rank_over_data_sets
from simo_cl.report.statistics import (
    Comparison,
    compare_all_pairs,
    half_width,
    seed_spread,
)
from simo_cl.results import Run, Suite, file_name, variant_settings, write_atomically

FIRST_METRICS = (
    "average_accuracy",
    "forgetting",
    "intransigence",
    "average_anytime_accuracy",
    "learning_accuracy",
    "backward_transfer",
    "forward_transfer",
    "min_accuracy",
    "worst_case_accuracy",
    "new_class_accuracy",
    "old_class_accuracy",
)
# Ten digits keep a count of images exact and show no floating-point residue.
FLOAT_FORMAT = "%.10g"
PARTS = ("mean", "std", "low", "high")


def write_tables(suite: Suite, comparisons: Iterable[Comparison]) -> list[Path]:
    """Write runs.csv, summary.csv and tables/ into the suite's folder; return the paths.

    What an earlier report wrote to tables/ and this one does not, as of strategies that the plan no
    longer has, is removed; files of others stay.
    """
    folder = suite.folder / "tables"
    folder.mkdir(exist_ok=True)
    tables = {
        suite.folder / "runs.csv": runs_table(suite),
        suite.folder / "summary.csv": summary_table(suite),
        folder / "summary_long.csv": long_summary_table(suite),
        folder / "environments.csv": environments_table(suite),
        folder / "history.csv": history_table(suite),
        folder / "comparisons.csv": comparisons_table(comparisons),
        folder / "paired_differences.csv": comparisons_table(
            compare_all_pairs(suite, suite.streamed_labels)
        ).rename(columns={"control": "minus"}),
    }
    if (ranking := rank_over_data_sets(suite)) is not None:
        tables[folder / "data_sets.csv"] = data_sets_table(ranking)
    for label in suite.finished_labels:
        matrix = mean_array(suite, label, "accuracy/own")
        if matrix is not None:
            table = matrix_table(matrix).add_prefix("experience_").rename_axis("after_experience")
            tables[folder / f"accuracy_matrix_{file_label(label)}.csv"] = table.reset_index()
    _remove_all_but([path.name for path in tables if path.parent == folder], folder)
    for path, table in tables.items():
        numbers = table.select_dtypes("floating")
        # Adding zero turns -0.0 into 0.0.
        table = table.assign(**(numbers + 0.0))
        text = table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n")
        write_atomically(path, text)
    return list(tables)


def _remove_all_but(names: Sequence[str], folder: Path) -> None:
    """Of the tables that earlier reports wrote into the folder, which has a list of them."""
    record = folder / ".written"
    before = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    for stale in {Path(name).name for name in before}.difference(names):
        (folder / stale).unlink(missing_ok=True)
    record.write_text("\n".join(names), encoding="utf-8")


def runs_table(suite: Suite) -> pd.DataFrame:
    """A row a finished run: strategy, what a grid sets, seed, then every final metric; undefined
    cells are empty."""
    names = metric_names(suite)
    rows = [
        _row_keys(run) | {"seed": run.seed} | {name: run.final.get(name) for name in names}
        for run in _in_order(suite)
    ]
    return pd.DataFrame(rows, columns=[*_key_columns(suite), "seed", *names])


def summary_table(suite: Suite) -> pd.DataFrame:
    """A row a strategy: strategy, what a grid sets, seeds, then of every final metric mean,
    deviation and the ends of the mean's 95 % t interval.

    A cell is empty where a finished seed lacks the metric; all but the mean also with one seed.
    """
    names = metric_names(suite)
    columns = [f"{name}_{part}" for name in names for part in PARTS]
    rows = [
        _strategy_keys(suite, label)
        | {
            f"{name}_{part}": value
            for name in names
            for part, value in _parts(suite, label, name).items()
        }
        for label in suite.finished_labels
    ]
    return pd.DataFrame(rows, columns=[*_key_columns(suite), "seeds", *columns])


def long_summary_table(suite: Suite) -> pd.DataFrame:
    """`summary_table` with a row a strategy and metric, where there is a mean; also the
    interquartile mean with the ends of its 95 % bootstrap interval."""
    rows = [
        _strategy_keys(suite, label)
        | {"metric": name}
        | parts
        | _estimate("iqm", interquartile_mean([list(suite.values(label, name).values())]))
        for label in suite.finished_labels
        for name in metric_names(suite)
        if (parts := _parts(suite, label, name))
    ]
    columns = ["seeds", "metric", *PARTS, "iqm", "iqm_low", "iqm_high"]
    return pd.DataFrame(rows, columns=[*_key_columns(suite), *columns])


def data_sets_table(ranking: Ranking) -> pd.DataFrame:
    """A row a strategy that all data sets have: over all of them the interquartile mean, the
    probability of a run above the control's, and the mean rank with what its differences are
    judged by."""
    rows = [
        {"strategy": standing.label, "data_sets": len(ranking.data_sets), "runs": standing.runs}
        | _estimate("iqm", standing.interquartile_mean)
        | _estimate("probability_above", standing.above)
        | {
            "mean_rank": standing.mean_rank,
            "friedman_p": ranking.friedman,
            "critical_difference": ranking.critical,
        }
        for standing in ranking.standings
    ]
    return pd.DataFrame(rows)


def environments_table(suite: Suite) -> pd.DataFrame:
    """A row an environment that finished runs were executed in: how many, of which strategies, and
    its versions and hardware."""
    names = dict.fromkeys(name for run in suite.finished_runs for name in run.environment)
    in_environment: dict[str, list[Run]] = {}
    for run in _in_order(suite):
        in_environment.setdefault(json.dumps(dict(run.environment), sort_keys=True), []).append(run)
    rows = [
        {"runs": len(runs), "strategies": ", ".join(dict.fromkeys(run.label for run in runs))}
        | dict(runs[0].environment)
        for runs in in_environment.values()
    ]
    return pd.DataFrame(rows, columns=["runs", "strategies", *names])


def history_table(suite: Suite) -> pd.DataFrame:
    """A row a finished run and trained experience, from 1, with every metric measured then."""
    names = metric_names(suite)
    rows = [
        _row_keys(run)
        | {"seed": run.seed, "experience": trained.experience + 1}
        | {name: trained.metrics.get(name) for name in names}
        for run in _in_order(suite)
        for trained in run.history
    ]
    return pd.DataFrame(rows, columns=[*_key_columns(suite), "seed", "experience", *names])


def comparisons_table(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """A row a comparison of two rows; untested ones have empty cells and the reason."""
    columns = ["strategy", "control", "seeds", "difference", "low", "high", "p", "p_holm"]
    columns += ["p_wilcoxon", "p_wilcoxon_holm"]
    columns += [f"probability_above{end}" for end in ("", "_low", "_high")]
    rows = [
        {"strategy": c.label, **asdict(c), "seeds": len(c.seeds)}
        | _estimate("probability_above", c.probability_above)
        for c in comparisons
    ]
    return pd.DataFrame(rows, columns=[*columns, "verdict", "reason"])


def metric_names(suite: Suite) -> list[str]:
    """Every metric of the finished runs: the main ones first, the others as they were logged."""
    found = dict.fromkeys(
        name
        for run in suite.finished_runs
        for trained in reversed(run.history)
        for name in trained.metrics
    )
    first = [name for name in FIRST_METRICS if name in found]
    return first + [name for name in found if name not in FIRST_METRICS]


def mean_array(suite: Suite, label: str, name: str) -> np.ndarray | None:
    """Mean over a row's finished seeds of one of the stored arrays.

    None unless every finished seed has the array, in one shape.
    """
    return over_seeds.mean_array([run.array(name) for run in suite.finished(label)])


def file_label(label: str) -> str:
    """A row's label as part of a file name: `simo[memory.size=200]` -> `simo@memory.size=200`.

    Characters that are not for every file system become `~` and their code, so that no two labels
    share a file.
    """
    cleaned = label.replace("[", "@").replace("]", "")
    return file_name(
        "".join(c if c.isalnum() or c in "@._=-+,~" else f"~{ord(c):02X}" for c in cleaned)
    )


def _in_order(suite: Suite) -> list[Run]:
    return [run for label in suite.finished_labels for run in suite.finished(label)]


def _row_keys(run: Run) -> dict[str, object]:
    """What names a row, and what its point of a grid sets."""
    return {"strategy": run.label, "base": run.strategy, **variant_settings(run.variant)}


def _strategy_keys(suite: Suite, label: str) -> dict[str, object]:
    runs = suite.finished(label)
    return _row_keys(runs[0]) | {"seeds": len(runs)}


def _key_columns(suite: Suite) -> list[str]:
    """`strategy`; in a suite with a grid also the strategy without it, and a column a setting."""
    settings = dict.fromkeys(key for run in suite.runs for key in variant_settings(run.variant))
    return ["strategy", "base", *settings] if settings else ["strategy"]


def _parts(suite: Suite, label: str, metric: str) -> dict[str, float | None]:
    found = seed_spread(suite, label, metric)
    if found is None:
        return {}
    mean, reach = found.mean, half_width(found)
    low, high = (None, None) if reach is None else (mean - reach, mean + reach)
    return dict(zip(PARTS, (mean, found.std, low, high), strict=True))


def _estimate(name: str, estimate: Estimate | None) -> dict[str, float]:
    """NaN where there is none, so that a column without any is one of numbers, too."""
    value, low, high = (
        np.nan if part is None else part
        for part in ((None,) * 3 if estimate is None else astuple(estimate))
    )
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def matrix_table(matrix: np.ndarray) -> pd.DataFrame:
    """Accuracies on each experience (columns), from 1, after each (rows); "all" after which a joint
    row is measured."""
    after = range(1, len(matrix) + 1) if len(matrix) > 1 else ["all"]
    return pd.DataFrame(
        matrix,
        index=pd.Index(after, name="after experience"),
        columns=pd.RangeIndex(1, matrix.shape[1] + 1, name="experience"),
    )
