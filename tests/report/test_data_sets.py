from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_suite import write_suite

import simo_cl
from simo_cl.report import write_report
from simo_cl.report.data_sets import Ranking, critical_difference, rank_over_data_sets
from simo_cl.report.figures import figure_makers

# Table 6 of Demšar (2006): AUC of four variants of C4.5 on fourteen data sets.
DEMSAR = {
    "C4.5": ("763 599 954 628 882 936 661 583 775 1000 940 619 972 957"),
    "C4.5+m": ("768 591 971 661 888 931 668 583 838 1000 962 666 981 978"),
    "C4.5+cf": ("771 590 968 654 886 916 609 563 866 1000 965 614 975 946"),
    "C4.5+m+cf": ("798 569 967 657 898 931 685 625 875 1000 962 669 973 970"),
}


def ranking_of(values: dict[str, list[float]], control: str | None = None) -> Ranking:
    """Of a mean a strategy and data set, each of one run."""
    rows = {
        (label, k): value / 1000 for label, of_it in values.items() for k, value in enumerate(of_it)
    }
    runs = [
        SimpleNamespace(
            label=f"{label}[suite={k}]",
            source=SimpleNamespace(suite=f"suite {k}", data=(f"data {k}", ()), label=label),
        )
        for label, k in rows
    ]
    named = {run.label: {0: value} for run, value in zip(runs, rows.values(), strict=True)}
    suite = SimpleNamespace(
        runs=runs,
        control=control,
        streamed_labels=tuple(named),
        values=lambda label, metric: named[label],
    )
    found = rank_over_data_sets(suite)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_ranks_and_tests_are_those_of_demsar_s_example() -> None:
    values = {label: [float(v) for v in text.split()] for label, text in DEMSAR.items()}

    found = ranking_of(values)

    assert [round(s.mean_rank, 3) for s in found.standings] == [3.143, 2.0, 2.893, 1.964]
    # Demšar's 9.28 has no correction for ties: all four are level on one data set, two on three.
    ties = ((4**3 - 4) + 3 * (2**3 - 2)) / ((4**3 - 4) * 14)
    assert found.friedman == pytest.approx(stats.chi2.sf(9.28 / (1 - ties), df=3), abs=2e-4)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert found.tells_apart
    # Nemenyi's test has not the power to tell even best and worst apart.
    assert [[s.label for s in group] for group in found.not_told_apart] == [
        ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    ]


@pytest.mark.parametrize(
    ("strategies", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_has_demsar_s_table_of_q(strategies: int, q: float) -> None:
    expected = q * np.sqrt(strategies * (strategies + 1) / (6 * 7))
    assert critical_difference(strategies, 7) == pytest.approx(expected, abs=5e-4 * 4)


def test_groups_are_the_largest_within_the_critical_difference() -> None:
    """Against all runs of neighbours in the order of ranks."""
    random = np.random.default_rng(0)
    strength = np.array([0, 3, 30, 33, 60, 62, 90])
    values = {
        f"s{k}": (500 + level + random.normal(0, 9, 12)).tolist()
        for k, level in enumerate(strength)
    }
    found = ranking_of(values)
    assert found.tells_apart
    ordered = sorted(found.standings, key=lambda s: s.mean_rank)
    near = [
        ordered[i:j]
        for i in range(len(ordered))
        for j in range(i + 2, len(ordered) + 1)
        if ordered[j - 1].mean_rank - ordered[i].mean_rank <= found.critical
    ]
    largest = [g for g in near if not any(set(map(id, g)) < set(map(id, o)) for o in near)]

    assert [list(group) for group in found.not_told_apart] == largest
    assert len(largest) > 1


def test_one_bar_joins_all_where_friedman_tells_nothing_apart() -> None:
    random = np.random.default_rng(3)
    found = ranking_of({f"s{k}": (500 + random.normal(0, 9, 4)).tolist() for k in range(3)})
    assert found.friedman > 0.05
    assert [len(group) for group in found.not_told_apart] == [3]


def suite_on(folder: Path, data: str, strategies: tuple[str, ...], **more) -> Path:
    options = {"seeds": (0, 1, 2), "experiences": 3, "classes": 6, "sample": 4} | more
    return write_suite(folder / data, strategies=strategies, data=data, **options)


@pytest.fixture
def three(tmp_path: Path) -> simo_cl.Results:
    return simo_cl.load_results(
        suite_on(tmp_path, "digits", ("joint", "er", "simo", "icarl")),
        suite_on(tmp_path, "mnist", ("er", "simo", "supcon", "icarl"), seeds=(0, 1)),
        suite_on(tmp_path, "cifar", ("simo", "er", "icarl", "joint")),
    )


def test_strategies_that_all_suites_have_are_ranked(three: simo_cl.Results) -> None:
    found = three.over_data_sets().set_index("strategy")

    assert found.index.tolist() == ["er", "simo", "icarl"]
    assert found["data_sets"].tolist() == [3, 3, 3]
    assert found["runs"].tolist() == [8, 8, 8]
    runs = three.runs.query("base in ['er', 'simo', 'icarl']")
    means = runs.groupby([runs["folder"].str.extract(r"/(\w+)/runs/")[0], "base"])
    by_set = means["average_accuracy"].mean().unstack()
    expected = by_set.rank(axis=1, ascending=False).mean()
    pd.testing.assert_series_equal(
        found["mean_rank"], expected[found.index], check_names=False, check_dtype=False
    )
    assert pd.isna(found.loc["er", "probability_above"])
    shares = []
    for _, here in runs.groupby(runs["folder"].str.extract(r"/(\w+)/runs/")[0]):
        ours, theirs = (
            here.loc[here["base"] == base, "average_accuracy"] for base in ("simo", "er")
        )
        shares.append(np.mean([[x > y for x in ours] for y in theirs]))
    assert found.loc["simo", "probability_above"] == pytest.approx(np.mean(shares))
    middle = stats.trim_mean(runs.query("base == 'simo'")["average_accuracy"], 0.25)
    assert found.loc["simo", "iqm"] == pytest.approx(middle)


def test_lower_is_better_where_the_metric_says_so(three: simo_cl.Results) -> None:
    forgetting = three.over_data_sets("forgetting").set_index("strategy")
    means = three.runs.groupby("base")["forgetting"].mean()[forgetting.index]
    assert forgetting["mean_rank"].idxmin() == means.idxmin()


@pytest.mark.usefixtures("few_figures")
def test_they_are_in_a_table_a_figure_and_on_the_page(three: simo_cl.Results) -> None:
    figure = figure_makers(three.suite)["critical_difference"](three.suite)
    assert figure is not None
    assert "in 3 data sets (digits, mnist and cifar)" in figure.caption
    assert figure.panels[0].alternative.startswith("Mean ranks: ")

    page = write_report(three.suite).page

    table = pd.read_csv(page.parent / "tables/data_sets.csv")
    pd.testing.assert_frame_equal(table, three.over_data_sets(), rtol=1e-9)
    html = page.read_text(encoding="utf-8")
    assert "Average accuracy over 3 data sets" in html
    assert 'id="figure-critical_difference"' in html


def test_one_data_set_has_no_ranks_over_several(tmp_path: Path) -> None:
    one = suite_on(tmp_path, "digits", ("er", "simo"))
    again = suite_on(tmp_path / "again", "digits", ("er", "simo"))
    other = suite_on(tmp_path, "mnist", ("er", "supcon"))
    for folders, given in (
        ((one,), "one suite"),
        ((one, again), "suites of digits"),
        ((one, other), "suites of digits, mnist"),
    ):
        results = simo_cl.load_results(*folders)
        assert figure_makers(results.suite)["critical_difference"](results.suite) is None
        with pytest.raises(ValueError, match=f"the results of {given}; give load_results several"):
            results.over_data_sets()
