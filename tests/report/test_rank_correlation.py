from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from synthetic_suite import MakeSuite

import simo_cl
from simo_cl.report.rank_correlation import partial_rank_correlation, rank_correlations

COSINE = "features/orthogonality/mean_abs_cos"


def by_inverse(x, y, given=None, groups=None) -> float:
    """Partial correlation from the inverse of the ranks' covariances, groups as indicators."""
    columns = [x, y] if given is None else [x, y, *np.transpose(given)]
    if groups is not None:
        columns += [np.equal(groups, one) for one in np.unique(groups)[1:]]
    inverse = np.linalg.inv(pd.DataFrame(np.transpose(columns)).rank().cov())
    return -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("held", ["nothing", "others", "groups", "both"])
def test_it_is_the_partial_correlation_of_ranks(seed: int, held: str) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(4, size=40)
    others = random.normal(size=(40, 2)) + groups[:, None]
    x = np.round(random.normal(size=40) + others[:, 0] + groups, 1)  # with ties
    y = x - others[:, 1] + random.normal(size=40)
    more = {}
    if held in ("others", "both"):
        more["given"] = others
    if held in ("groups", "both"):
        more["groups"] = groups

    found = partial_rank_correlation(x, y, **more)

    assert found == pytest.approx(by_inverse(x, y, **more))
    if held == "nothing":
        assert found == pytest.approx(spearmanr(x, y).statistic)


def test_what_is_constant_or_explained_goes_with_nothing() -> None:
    x = np.arange(6.0)
    assert np.isnan(partial_rank_correlation(np.ones(6), x))
    assert np.isnan(partial_rank_correlation(x, x[::-1], given=(3 * x)[:, None]))
    assert np.isnan(partial_rank_correlation(x, x, groups=range(6)))


def runs_of(within: float, between: float, strategies: int = 8, seeds: int = 10):
    """Runs whose y goes with x by these slopes, from run to run and from strategy to strategy."""
    random = np.random.default_rng(0)
    names = np.repeat([f"s{k}" for k in range(strategies)], seeds)
    of_strategy = np.repeat(random.normal(size=strategies), seeds)
    of_run = random.normal(size=strategies * seeds)
    x = 5 * of_strategy + of_run
    y = 5 * between * of_strategy + within * of_run + 0.3 * random.normal(size=len(x))
    return x, y, names.tolist(), np.tile(np.arange(seeds), strategies).tolist()


def test_levels_that_point_in_opposite_directions_are_told_apart() -> None:
    over_all, within, between = rank_correlations(*runs_of(within=-1, between=1))

    assert over_all.correlation > 0.7
    assert within.correlation < -0.5
    assert within.high < 0
    assert between.correlation > 0.9
    assert between.low > 0
    for found in (over_all, within, between):
        assert -1 <= found.low <= found.correlation <= found.high <= 1
        assert (found.runs, found.strategies) == (80, 8)


def test_an_interval_covers_0_where_nothing_goes_together() -> None:
    x, _, names, seeds = runs_of(within=1, between=1)
    noise = np.random.default_rng(1).normal(size=len(x))
    assert all(found.low < 0 < found.high for found in rank_correlations(x, noise, names, seeds))


def test_the_order_of_the_runs_does_not_matter() -> None:
    x, y, names, seeds = runs_of(within=1, between=-1, strategies=6, seeds=5)
    order = np.random.default_rng(2).permutation(len(x))
    shuffled = [[column[i] for i in order] for column in (x, y, names, seeds)]

    for one, other in zip(
        rank_correlations(x, y, names, seeds), rank_correlations(*shuffled), strict=True
    ):
        assert one.correlation == pytest.approx(other.correlation)
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_few_seeds_and_strategies_have_no_interval() -> None:
    for found in rank_correlations(*runs_of(1, 1, strategies=4, seeds=4)):
        assert found.correlation is not None
        assert (found.low, found.high) == (None, None)
    (over_all, within, between) = rank_correlations(*runs_of(1, 1, strategies=2, seeds=1))
    assert (over_all.correlation, within.correlation, between.correlation) == (None, None, None)


def test_results_have_it_of_their_runs(make_suite: MakeSuite) -> None:
    folder = make_suite(
        strategies=("joint", "er", "icarl", "simo", "supcon", "der"), seeds=range(5)
    )
    results = simo_cl.load_results(folder)
    runs = results.runs.query("strategy != 'joint'")

    found = results.rank_correlation(COSINE, "forgetting").set_index("level")

    assert list(found) == ["correlation", "low", "high", "runs", "strategies"]
    assert found[["runs", "strategies"]].drop_duplicates().values.tolist() == [[25, 5]]
    x, y = runs[COSINE], runs["forgetting"]
    groups = runs["strategy"].to_numpy()
    assert found.loc["all runs", "correlation"] == pytest.approx(by_inverse(x, y))
    within = by_inverse(x.to_numpy(), y.to_numpy(), groups=groups)
    assert found.loc["within strategies", "correlation"] == pytest.approx(within)
    means = runs.groupby("strategy")[[COSINE, "forgetting"]].mean()
    between = spearmanr(means[COSINE], means["forgetting"]).statistic
    assert found.loc["between strategies", "correlation"] == pytest.approx(between)


def test_runs_that_lack_a_metric_are_left_out(make_suite: MakeSuite) -> None:
    results = simo_cl.load_results(make_suite(strategies=("er", "simo", "supcon"), seeds=(0, 1)))
    found = results.rank_correlation("embedding/collapse/effective_rank")
    assert found["strategies"].tolist() == [2, 2, 2]


def test_the_points_of_a_grid_are_strategies_or_one(make_suite: MakeSuite) -> None:
    grid = [f"memory.size={size}" for size in (100, 200, 500)]
    results = simo_cl.load_results(
        make_suite(strategies=("er", "simo"), variants=grid, seeds=(0, 1))
    )
    by = {name: results.rank_correlation(COSINE, by=name) for name in ("strategy", "base")}
    assert by["strategy"]["strategies"][0] == 6
    assert by["base"]["strategies"][0] == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("features/mean_cos",), "no metric 'features/mean_cos'"),
        ((COSINE, "acuracy"), "no metric 'acuracy'"),
        (("intransigence", "drift"), "no metric 'drift'"),
    ],
)
def test_a_metric_that_there_is_not_is_named(
    make_suite: MakeSuite, names: tuple[str, ...], message: str
) -> None:
    results = simo_cl.load_results(make_suite(strategies=("er", "simo", "joint"), seeds=(0,)))
    with pytest.raises(ValueError, match=message):
        results.rank_correlation(*names)


def test_several_data_sets_have_no_common_scale(make_suite: MakeSuite, tmp_path: Path) -> None:
    one = make_suite(strategies=("er", "simo"), seeds=(0, 1))
    two = one.rename(tmp_path / "two")
    one = make_suite(strategies=("er", "simo"), seeds=(0, 1))
    plan = json.loads((two / "plan.json").read_text())
    (two / "plan.json").write_text(json.dumps({**plan, "suite": "two", "data": "digits"}))
    with pytest.raises(ValueError, match=r"of several data sets.* give load_results those of one"):
        simo_cl.load_results(one, two).rank_correlation(COSINE)
