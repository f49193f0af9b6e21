from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic_suite import write_suite

import simo_cl
from simo_cl.analysis import Results
from simo_cl.report.figures import figure_makers
from simo_cl.results import ResultsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(
        tmp_path_factory.mktemp("results") / "first",
        strategies=("joint", "er", "simo"),
        seeds=(0, 1, 2),
        failed=[("er", 2)],
        unfinished=[("simo", 2)],
        experiences=3,
        classes=6,
        sample=4,
    )


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return simo_cl.load_results(folder)


@pytest.fixture(scope="module")
def two(folder: Path) -> Results:
    """With a second suite of the same rows but joint, and one of its own."""
    other = write_suite(
        folder.parent / "second",
        strategies=("er", "simo", "icarl"),
        seeds=(0, 1),
        experiences=3,
        classes=6,
        sample=4,
    )
    return simo_cl.load_results(folder, str(other))


def test_every_planned_run_is_a_row_with_its_settings(results: Results) -> None:
    runs = results.runs.set_index(["strategy", "seed"])
    assert len(runs) == 9
    assert runs["state"].value_counts().to_dict() == {"finished": 7, "failed": 1, "running": 1}
    assert runs.loc[("simo", 0), "memory.size"] == 1000
    assert runs.loc[("simo", 0), "settings.epsilon"] == 0.1
    assert np.isnan(runs.loc[("er", 0), "settings.epsilon"])
    accuracy = results.suite.finished("er")[0].final["average_accuracy"]
    assert runs.loc[("er", 0), "average_accuracy"] == accuracy
    assert np.isnan(runs.loc[("er", 2), "average_accuracy"])
    assert "TrainingDivergedError" in runs.loc[("er", 2), "problem"]


def test_history_is_tidy(results: Results) -> None:
    history = results.history
    assert list(history) == ["strategy", "seed", "experience", "metric", "value"]
    assert not history.duplicated(["strategy", "seed", "experience", "metric"]).any()
    curve = history.query("strategy == 'simo' and seed == 1 and metric == 'average_accuracy'")
    assert curve["experience"].tolist() == [1, 2, 3]
    finals = results.runs.set_index(["strategy", "seed"])["average_accuracy"]
    assert curve["value"].iloc[-1] == finals.loc[("simo", 1)]


def test_a_running_run_is_there_as_far_as_it_has_come(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "suite")
    (finished,) = folder.glob("runs/simo/seed0-*/metrics.jsonl")
    (running,) = (tmp_path / "suite").glob("runs/simo/seed2-*")
    lines = finished.read_text().splitlines(keepends=True)
    (running / "metrics.jsonl").write_text(lines[0] + lines[1][:40])
    results = simo_cl.load_results(tmp_path / "suite")
    mine = results.history.query("strategy == 'simo' and seed == 2")
    assert set(mine["experience"]) == {1}
    assert 2 not in results.suite.values("simo", "average_accuracy")


def test_means_are_of_the_finished_seeds(results: Results) -> None:
    summary = results.summary.set_index(["strategy", "metric"])
    row = summary.loc[("simo", "average_accuracy")]
    finals = results.runs.query("strategy == 'simo' and seed < 2")["average_accuracy"]
    assert row["seeds"] == 2
    assert row["mean"] == pytest.approx(finals.mean())
    assert row["std"] == pytest.approx(finals.std())
    assert row["low"] < row["mean"] < row["high"]


def test_comparisons_are_the_report_s(results: Results) -> None:
    own = results.compare()
    assert own["control"].unique().tolist() == ["er"]
    assert own["strategy"].tolist() == ["simo"]
    other = results.compare(control="simo", metric="forgetting")
    assert other["strategy"].tolist() == ["er"]
    assert own["better"].tolist() == ["higher"]
    assert other["better"].tolist() == ["lower"]
    difference = results.runs.pivot_table(index="seed", columns="strategy", values="forgetting")
    expected = (difference["er"] - difference["simo"]).dropna().mean()
    assert other["difference"].tolist() == pytest.approx([expected])


def test_an_accuracy_matrix_is_of_a_seed_or_the_mean(results: Results) -> None:
    each = [results.accuracy_matrix("simo", seed=seed) for seed in (0, 1)]
    assert each[0].index.name == "after experience"
    assert each[0].loc[3, 1] == results.suite.finished("simo")[0].array("accuracy/own")[2, 0]
    mean = results.accuracy_matrix("simo")
    pd.testing.assert_frame_equal(mean, (each[0] + each[1]) / 2)
    assert results.accuracy_matrix("joint", seed=0).index.tolist() == ["all"]
    assert not results.accuracy_matrix("simo", seed=0, read_out="knn").equals(each[0])


def test_embeddings_have_their_labels(results: Results) -> None:
    points = results.embeddings("simo", seed=0)
    for part in ("train", "test"):
        assert len(points[f"{part}_embedding"]) == len(points[f"{part}_labels"])


def test_figures_are_matplotlib_s(results: Results, tmp_path: Path) -> None:
    for name in ("accuracy", "accuracy_matrices"):
        figure = results.figure(name)
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert len(results.figure("accuracy_matrices").axes) >= 3


def test_every_figure_of_the_report_has_its_name(results: Results) -> None:
    for name, make in figure_makers(results.suite).items():
        figure = make(results.suite)
        assert figure is None or figure.name == name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.figure("acuracy"), "no figure 'acuracy'. Did you mean 'accuracy'"),
        (lambda r: r.compare(control="simmo"), "no control 'simmo'.*Did you mean 'simo'"),
        (lambda r: r.compare(metric="forgeting"), "no metric 'forgeting'.*mean 'forgetting'"),
        (lambda r: r.accuracy_matrix("err"), "no strategy 'err'. .*There are joint, er, simo"),
        (lambda r: r.accuracy_matrix("er", seed=7), "er has no seed 7; it has 0, 1, 2"),
        (lambda r: r.embeddings("er", seed=2), "er, seed 2, has not finished: TrainingDiv"),
        (
            lambda r: r.accuracy_matrix("er", seed=0, read_out="kn"),
            "no read-out 'kn'. Did you mean 'knn'.* There are own, ncm_memory, ncm_oracle, ",
        ),
        (
            lambda r: r.rank_correlation("forgetting", by="bace"),
            "no grouping by 'bace'. Did you mean 'base'.* There are strategy, base",
        ),
    ],
)
def test_what_there_is_not_is_named(results: Results, call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(results)


def test_a_suite_without_a_control_asks_for_one(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "none", strategies=("er",), control=None, missing=[("er", 0)])
    with pytest.raises(ValueError, match="names no control; give one"):
        simo_cl.load_results(folder).compare()


def test_a_suite_with_nothing_finished_has_empty_frames(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "new", strategies=("er",), seeds=(0,), missing=[("er", 0)])
    results = simo_cl.load_results(folder)
    assert results.runs["state"].tolist() == ["missing"]
    assert results.history.empty
    assert results.summary.empty
    assert results.compare().empty
    with pytest.raises(ValueError, match="no finished run has the numbers for the figure"):
        results.figure("accuracy")


def test_no_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no plan\.json in"):
        simo_cl.load_results(tmp_path)


def test_tables_without_the_runs_are_named(folder: Path, tmp_path: Path) -> None:
    committed = tmp_path / "committed"
    committed.mkdir()
    shutil.copy(folder / "plan.json", committed)
    simo_cl.load_results(folder).runs.to_csv(committed / "runs.csv", index=False)
    with pytest.raises(ResultsError, match=r"none of their folders.*runs\.csv"):
        simo_cl.load_results(folder, committed)


def test_rows_that_two_suites_have_are_told_apart(two: Results) -> None:
    assert two.suite.labels == (
        "joint",
        "er[suite=first]",
        "simo[suite=first]",
        "er[suite=second]",
        "simo[suite=second]",
        "icarl",
    )
    compared = two.compare().set_index("strategy")["control"].to_dict()
    assert compared["simo[suite=first]"] == "er[suite=first]"
    assert compared["simo[suite=second]"] == "er[suite=second]"
    assert len(two.runs) == 15
    assert set(two.history["strategy"]) == set(two.suite.labels)


def test_two_suites_of_one_name_are_told_apart_by_their_folders(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "again" / "first")
    elsewhere = tmp_path / "again" / "first"
    suite = simo_cl.load_results(folder, elsewhere).suite
    own, other = folder.parent.name, "again"
    assert suite.labels == tuple(
        f"{row}[suite={where}]" for where in (own, other) for row in ("joint", "er", "simo")
    )
    assert suite.plan.suite == f"first ({own}) and first (again)"
    shutil.copytree(folder, tmp_path / "second")
    three = simo_cl.load_results(folder, elsewhere, tmp_path / "second").suite
    assert [label for label in three.labels if label.startswith("er")] == [
        f"er[suite={own}_first]",
        "er[suite=again_first]",
        f"er[suite={tmp_path.name}_second]",
    ]


def beside(folder: Path, name: str, rows: tuple[str, ...], data: str = "CIFAR-10") -> Path:
    """A small suite of the control er, on data of that name."""
    return write_suite(
        folder / name, strategies=rows, data=data, experiences=3, classes=6, sample=4
    )


def compared_with(results: Results, control: str | None = None) -> dict[str, str]:
    """The control of every row that was tested."""
    found = results.compare(control).dropna(subset=["p_holm"])
    return dict(zip(found["strategy"], found["control"], strict=True))


@pytest.mark.parametrize("control", [None, "er"])
def test_a_row_is_compared_with_the_control_of_its_own_suite(
    tmp_path: Path, control: str | None
) -> None:
    one = beside(tmp_path, "one", ("er", "simo"))
    two = beside(tmp_path, "two", ("er", "supcon"))

    results = simo_cl.load_results(one, two)

    assert compared_with(results, control) == {"simo": "er[suite=one]", "supcon": "er[suite=two]"}
    assert compared_with(results, "er[suite=one]") == {
        "simo": "er[suite=one]",
        "supcon": "er[suite=one]",
    }


def test_a_row_without_its_own_control_takes_the_only_other_one_of_its_data(
    tmp_path: Path,
) -> None:
    one, two = beside(tmp_path, "one", ("er",)), beside(tmp_path, "two", ("simo",))
    three = beside(tmp_path, "three", ("er",))

    assert compared_with(simo_cl.load_results(one, two)) == {"simo": "er"}
    three_of_them = simo_cl.load_results(one, two, three).compare().set_index("strategy")
    assert compared_with(simo_cl.load_results(one, two, three)) == {}
    assert "several other suites have er" in three_of_them.loc["simo", "reason"]


def test_numbers_on_other_data_are_not_compared(tmp_path: Path) -> None:
    one = beside(tmp_path, "one", ("er",))
    other = beside(tmp_path, "other", ("er", "simo"), "digits")
    results = simo_cl.load_results(one, beside(tmp_path, "two", ("simo",), "digits"))

    assert results.compare()["p"].isna().all()
    assert results.compare()[["strategy", "reason"]].values.tolist() == [
        ["simo", "er is of other data"]
    ]
    found = simo_cl.load_results(one, other).compare("er[suite=one]").set_index("strategy")
    assert found.loc["simo", "reason"] == "er[suite=one] is of other data"
    assert pd.isna(found.loc["simo", "difference"])


def test_a_control_that_is_a_point_of_a_grid_stays_it_beside_another_suite(tmp_path: Path) -> None:
    grid = ("memory.size=200", "memory.size=500")
    folders = [
        write_suite(
            tmp_path / name,
            strategies=("er", "simo"),
            variants=grid,
            control="er[memory.size=500]",
            experiences=3,
            classes=6,
            sample=4,
        )
        for name in ("one", "two")
    ]

    found = simo_cl.load_results(*folders).compare().set_index("strategy")["control"]

    assert found["simo[memory.size=200,suite=two]"] == "er[memory.size=500,suite=two]"
    assert len(found) == 6


def test_a_folder_is_given_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for again in (folder, folder.parent / "." / folder.name, tmp_path / "link"):
        with pytest.raises(ResultsError, match=r"was given 2 times.* give each suite once"):
            simo_cl.load_results(folder, again)


def test_public_names_complete() -> None:
    assert {"run_suite", "load_results", "Results", "SimOLoss"} <= set(dir(simo_cl))
    assert set(simo_cl.__all__) <= set(dir(simo_cl))
