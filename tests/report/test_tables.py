from __future__ import annotations

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from simo_cl.report.cells import p_cell
from simo_cl.report.leaderboard import comparison_table
from simo_cl.report.statistics import compare_with_control
from simo_cl.report.tables import file_label, write_tables
from simo_cl.report.wording import show_number, show_signed
from simo_cl.results import load_suite, merge_suites

KEYS = ("strategy", "minus", "seed", "metric", "experience", "after_experience", "runs")


def write(folder) -> None:
    suite = load_suite(folder)
    write_tables(suite, compare_with_control(suite))


def shown(table) -> str:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_runs_csv_has_a_row_for_each_finished_run(make_suite):
    folder = make_suite(strategies=("joint", "er", "simo"), failed=[("er", 1)])
    write(folder)
    runs = pd.read_csv(folder / "runs.csv")
    assert list(runs.columns[:4]) == ["strategy", "seed", "average_accuracy", "forgetting"]
    assert list(zip(runs["strategy"], runs["seed"], strict=True)) == [
        ("joint", 0),
        ("joint", 1),
        ("joint", 2),
        ("er", 0),
        ("er", 2),
        ("simo", 0),
        ("simo", 1),
        ("simo", 2),
    ]
    logged = json.loads(
        (folder / "runs/simo/seed2-1a2b3c4d/metrics.jsonl").read_text().splitlines()[-1]
    )["metrics"]
    row = runs.iloc[-1]
    for name, value in logged.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name


def test_summary_csv_has_means_and_deviations_and_empty_cells(make_suite):
    folder = make_suite(strategies=("joint", "er", "simo"))
    write(folder)
    runs = pd.read_csv(folder / "runs.csv")
    summary = pd.read_csv(folder / "summary.csv").set_index("strategy")
    assert list(summary.columns[:5]) == [
        "seeds",
        "average_accuracy_mean",
        "average_accuracy_std",
        "average_accuracy_low",
        "average_accuracy_high",
    ]
    simo = runs[runs["strategy"] == "simo"]["average_accuracy"]
    assert summary.loc["simo", "seeds"] == 3
    assert summary.loc["simo", "average_accuracy_mean"] == pytest.approx(simo.mean())
    assert summary.loc["simo", "average_accuracy_std"] == pytest.approx(simo.std(ddof=1))
    half = 4.302653 * simo.std(ddof=1) / np.sqrt(3)  # t with two degrees of freedom, 97.5 %
    assert summary.loc["simo", "average_accuracy_low"] == pytest.approx(simo.mean() - half)
    assert summary.loc["simo", "average_accuracy_high"] == pytest.approx(simo.mean() + half)
    assert np.isnan(summary.loc["joint", "forgetting_mean"])
    assert np.isnan(summary.loc["er", "embedding/collapse/effective_rank_mean"])
    assert summary.loc["simo", "embedding/collapse/effective_rank_mean"] > 0
    assert summary.loc["simo", "intransigence_mean"] == pytest.approx(
        runs[runs["strategy"] == "simo"]["intransigence"].mean()
    )


def test_the_long_summary_says_the_same_in_a_row_a_metric(make_suite):
    folder = make_suite(strategies=("joint", "er"))
    write(folder)
    wide = pd.read_csv(folder / "summary.csv").set_index("strategy")
    long = pd.read_csv(folder / "tables/summary_long.csv")
    assert list(long.columns) == [
        *("strategy", "seeds", "metric", "mean", "std", "low", "high"),
        *("iqm", "iqm_low", "iqm_high"),
    ]
    for row in long.itertuples():
        for part in ("mean", "std", "low", "high"):
            assert getattr(row, part) == wide.loc[row.strategy, f"{row.metric}_{part}"]
    assert len(long) == wide.filter(regex="_mean$").notna().sum(axis=None)


def test_settings_of_a_grid_are_columns(make_suite):
    grid = ("memory.size=200,epsilon=0.1", "memory.size=500,epsilon=0.1")
    folder = make_suite(strategies=("er", "simo"), variants=grid, seeds=(0, 1))
    write(folder)
    for name in ("runs", "summary", "tables/summary_long", "tables/history"):
        table = pd.read_csv(folder / f"{name}.csv")
        assert list(table.columns[:4]) == ["strategy", "base", "memory.size", "epsilon"], name
        assert set(table["base"]) == {"er", "simo"}
        label = table["base"] + "[memory.size=" + table["memory.size"].astype(str)
        assert (table["strategy"] == label + ",epsilon=0.1]").all()


def test_experiences_count_from_one(make_suite):
    folder = make_suite(strategies=("joint", "er"), seeds=(0,))
    write(folder)
    history = pd.read_csv(folder / "tables/history.csv")
    assert list(history[history["strategy"] == "er"]["experience"]) == [1, 2, 3, 4, 5]


def test_zeros_have_no_sign_in_files(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,))
    path = folder / "runs/er/seed0-1a2b3c4d/metrics.jsonl"
    text = path.read_text()
    path.write_text(re.sub(r'"backward_transfer": [^,]+', '"backward_transfer": -0.0', text))
    write(folder)
    runs = pd.read_csv(folder / "runs.csv", dtype=str)
    assert runs["backward_transfer"][0] == "0"


def test_one_seed_has_no_deviation(make_suite):
    folder = make_suite(strategies=("er",), seeds=(4,))
    write(folder)
    summary = pd.read_csv(folder / "summary.csv")
    for part in ("_std", "_low", "_high"):
        assert summary.filter(like=part).isna().all(axis=None)


def test_every_pair_of_rows_on_the_stream_is_in_a_table(make_suite):
    folder = make_suite(strategies=("joint", "er", "simo", "icarl"))
    write(folder)
    pairs = pd.read_csv(folder / "tables/paired_differences.csv")
    assert list(zip(pairs["strategy"], pairs["minus"], strict=True)) == [
        ("er", "simo"),
        ("er", "icarl"),
        ("simo", "icarl"),
    ]
    accuracy = pd.read_csv(folder / "runs.csv").pivot(
        index="seed", columns="strategy", values="average_accuracy"
    )
    assert pairs["difference"][0] == pytest.approx((accuracy["er"] - accuracy["simo"]).mean())


def test_every_environment_is_in_a_table_with_its_runs(make_suite):
    folder = make_suite(strategies=("er", "simo"))
    path = folder / "runs/simo/seed1-1a2b3c4d/status.json"
    status = json.loads(path.read_text())
    status["environment"] |= {"torch": "2.15.0", "gpu": "H100"}
    path.write_text(json.dumps(status))
    write(folder)
    environments = pd.read_csv(folder / "tables/environments.csv", dtype=str).set_index("torch")
    assert environments["runs"].to_dict() == {"2.14.1": "5", "2.15.0": "1"}
    assert environments["strategies"].to_dict() == {"2.14.1": "er, simo", "2.15.0": "simo"}
    assert set(environments["cpu"]) == {"AMD EPYC"}
    assert environments["gpu"].fillna("").to_dict() == {"2.14.1": "", "2.15.0": "H100"}


def test_accuracy_matrices_are_means_over_seeds(make_suite):
    folder = make_suite(strategies=("joint", "simo"))
    write(folder)
    matrix = pd.read_csv(folder / "tables/accuracy_matrix_simo.csv", index_col="after_experience")
    stored = [run.array("accuracy/own") for run in load_suite(folder).finished("simo")]
    np.testing.assert_allclose(matrix.to_numpy(), np.mean(stored, axis=0), rtol=1e-9)
    assert list(matrix.index) == [1, 2, 3, 4, 5]
    assert list(matrix.columns) == [f"experience_{i}" for i in (1, 2, 3, 4, 5)]
    joint = pd.read_csv(folder / "tables/accuracy_matrix_joint.csv", index_col="after_experience")
    assert joint.shape == (1, 5)


def test_tables_of_strategies_no_longer_planned_go_away(make_suite):
    folder = make_suite(strategies=("er", "simo"), seeds=(0,))
    write(folder)
    plan = json.loads((folder / "plan.json").read_text())
    plan["runs"] = [run for run in plan["runs"] if run["strategy"] == "er"]
    (folder / "plan.json").write_text(json.dumps(plan))
    write(folder)
    names = {path.name for path in (folder / "tables").glob("accuracy_matrix_*")}
    assert names == {"accuracy_matrix_er.csv"}


def test_tables_of_others_stay(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,))
    write(folder)
    mine = folder / "tables/accuracy_matrix_mine.csv"
    mine.write_text("1,2\n")
    write(folder)
    assert mine.read_text() == "1,2\n"


@pytest.mark.parametrize("what", ["seeds", "strategies"])
def test_the_plan_s_order_moves_no_number(make_suite, what):
    folder = make_suite(strategies=("joint", "er", "simo", "icarl"), seeds=range(5))
    before = tables_by_row(folder)
    plan = json.loads((folder / "plan.json").read_text())
    key = "seed" if what == "seeds" else "strategy"
    plan["runs"].sort(key=lambda run: run[key], reverse=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    for name, table in tables_by_row(folder).items():
        pd.testing.assert_frame_equal(table, before[name], check_like=True, rtol=1e-9)


def tables_by_row(folder) -> dict[str, pd.DataFrame]:
    """Every table, in an order of its own; of each pair, the one that the alphabet has first."""
    write(folder)
    tables = {path.name: pd.read_csv(path) for path in folder.glob("**/*.csv")}
    pairs = tables["paired_differences.csv"]
    turned = pairs["strategy"] > pairs["minus"]
    pairs.loc[turned, ["strategy", "minus"]] = pairs.loc[turned, ["minus", "strategy"]].to_numpy()
    pairs.loc[turned, "difference"] *= -1
    ends = -pairs.loc[turned, ["high", "low"]].to_numpy()
    pairs.loc[turned, ["low", "high"]] = ends
    pairs.loc[turned, "probability_above"] = 1 - pairs.loc[turned, "probability_above"]
    mirrored = {"above": "below", "below": "above"}
    pairs.loc[turned, "verdict"] = pairs.loc[turned, "verdict"].replace(mirrored)
    # Of a turned pair it is over other resamples.
    del pairs["probability_above_low"], pairs["probability_above_high"]
    tables["environments.csv"] = tables["environments.csv"].drop(columns="strategies")
    return {
        name: table.sort_values([c for c in KEYS if c in table]).reset_index(drop=True)
        for name, table in tables.items()
    }


def test_the_terminal_table_says_what_is_missing_and_what_is_established(make_suite):
    folder = make_suite(
        strategies=("joint", "finetune", "er", "simo"),
        failed=[("simo", 1)],
        missing=[("finetune", 2)],
    )
    text = shown(comparison_table(load_suite(folder)))
    assert "CIFAR-10, JPEG copy" in text
    assert "difference from er" in text
    assert "failed: simo seed 1" in text
    assert "missing: finetune seed 2" in text
    assert "Holm" in text
    assert "mean training" in text
    assert "of a run" in text
    order = [text.index(f"│ {label} ") for label in ("joint", "finetune", "er", "simo")]
    assert order == sorted(order)


def test_the_terminal_table_explains_an_interval_without_a_star(write_suite_at, tmp_path):
    loose = "it may leave out 0 where there is no *"
    rows = ("finetune", "er", "icarl", "supcon", "triplet", "simo")
    many = write_suite_at(tmp_path / "many", strategies=rows)
    assert loose in shown(comparison_table(load_suite(many)))
    few = write_suite_at(tmp_path / "few", strategies=("er", "simo"))
    assert loose not in shown(comparison_table(load_suite(few)))


def test_the_terminal_table_of_several_suites_names_the_settings_that_differ(
    write_suite_at, tmp_path
):
    one = write_suite_at(tmp_path / "one", strategies=("er",))
    two = write_suite_at(tmp_path / "two", strategies=("simo",))
    together = merge_suites([load_suite(one), load_suite(two)])
    assert "not with the same settings" not in shown(comparison_table(together))
    for config in two.glob("runs/*/*/config.yaml"):
        config.write_text(config.read_text().replace("size: 1000", "size: 200"))
    together = merge_suites([load_suite(one), load_suite(two)])
    assert "not with the same settings: memory.size differs" in shown(comparison_table(together))


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, ""), (0.0004, "< 0.001"), (0.0498, "0.0498"), (0.04997, "0.04997"), (0.0512, "0.051")],
)
def test_a_p_value_is_told_from_the_level_that_a_verdict_needs(p, text):
    assert p_cell(p).text == text


def test_the_terminal_table_of_one_seed_claims_nothing(make_suite):
    text = shown(comparison_table(load_suite(make_suite(seeds=(0,)))))
    assert "one seed: no deviation and no interval" in text
    assert "±" not in text
    assert "*" not in text


def test_the_terminal_table_says_what_a_deviation_is(make_suite):
    assert "± standard deviation over seeds" in shown(comparison_table(load_suite(make_suite())))


def test_the_terminal_table_says_which_differences_rest_on_fewer_seeds(make_suite):
    folder = make_suite(
        strategies=("er", "simo", "icarl", "supcon"),
        seeds=range(4),
        missing=[("er", 3), *(("icarl", seed) for seed in (1, 2, 3)), ("supcon", 3)],
    )
    text = shown(comparison_table(load_suite(folder)))
    assert "difference over 3 shared seeds: simo\n" in re.sub(" +\n", "\n", text)
    assert "difference over 1 shared seed: icarl; no interval, and nothing established" in text
    assert "one seed: no deviation" not in text


def test_the_terminal_table_says_why_there_are_no_differences(make_suite):
    folder = make_suite(strategies=("simo", "icarl"), control="er")
    text = shown(comparison_table(load_suite(folder)))
    assert "difference" not in text
    assert "The control, er, was left out of the command" in text


def test_the_terminal_table_shows_variants_in_brackets(make_suite):
    text = shown(
        comparison_table(load_suite(make_suite(variants=("memory.size=200",), seeds=(0,))))
    )
    assert "simo[memory.size=200]" in text


def test_a_suite_without_finished_runs_still_has_tables(make_suite):
    folder = make_suite(strategies=("er",), seeds=(0,), failed=[("er", 0)])
    write(folder)
    assert (folder / "runs.csv").read_text() == "strategy,seed\n"
    assert (folder / "summary.csv").read_text() == "strategy,seeds\n"
    assert "no run has finished" in shown(comparison_table(load_suite(folder)))


def test_what_rounds_to_zero_has_no_sign():
    assert show_signed(-0.0001) == show_signed(0.0001) == "0.000"
    assert show_number(-0.0001) == "0.000"
    assert show_signed(-0.02) == "−0.020"


def test_file_names_of_variants_are_safe():
    assert file_label("simo[memory.size=200]") == "simo@memory.size=200"
    assert file_label("a b/c") == "a~20b~2Fc"
    assert len(file_label("x" * 400)) < 220
