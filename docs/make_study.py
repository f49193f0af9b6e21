"""Write the tables and figures of docs/study.md, and the table of the README, from results/.

`python docs/make_study.py` replaces what stands between `<!-- NAME -->` and `<!-- end -->` in both
pages, and draws docs/figures/study_*.svg. Where the run folders of the suite `digits` are, it first
measures the embeddings of training images in them, into results/digits/training_images.csv.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy import stats

from simo_cl.harness.plan import TUNING_SEED
from simo_cl.harness.suite_file import read_suite
from simo_cl.metrics.bounds import coherence_bound
from simo_cl.report.optimum import best_cosine
from simo_cl.report.rank_correlation import rank_correlations
from simo_cl.report.statistics import holm, paired_t

Key = TypeVar("Key", bound=Hashable)

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "study.md", ROOT / "README.md")
FIGURES = ROOT / "docs" / "figures"

CONTROL = "er_balanced"
CHOSEN = "simo"
DIGITS, CIFAR10, FASHION = "digits", "split_cifar10", "split_fashion_mnist"
SMALL_MEMORY = "split_cifar10_memory_200"
SETTINGS, SLIM = "split_cifar10_simo", "split_cifar10_slim"
STREAMS = (CIFAR10, SMALL_MEMORY, FASHION)
RECTIFIED = "simo_rectified"
TITLES = {
    CIFAR10: "Split CIFAR-10",
    SMALL_MEMORY: "Split CIFAR-10, memory of 200",
    FASHION: "Split Fashion-MNIST",
    DIGITS: "digits",
}
TRAINING_IMAGES = ROOT / "results" / DIGITS / "training_images.csv"

_IN_ALL = ("er_balanced", "er_ace", "supcon", "triplet", "opl", "co2l")
RIVALS = {
    **dict.fromkeys(STREAMS, (*_IN_ALL, "fixed_targets")),
    DIGITS: (*_IN_ALL, "fixed_orthonormal", "fixed_simplex"),
}
"""That the chosen strategy is tested against; named before any run that a table has."""

ACCURACY, FORGETTING, LEARNT = "average_accuracy", "forgetting", "learning_accuracy"
BY_MEANS = "ncm_memory/average_accuracy"
ANTIPODAL = "embedding/neighbourhood/antipodal_share"
NAMES = {"embedding": "loss space", "features": "features", "features_centred": "centred features"}
SPACES = tuple(NAMES)
COS = "orthogonality/mean_abs_cos"


@cache
def runs(suite: str) -> pd.DataFrame:
    """A row a run, with the row's name, the grid's settings and every metric."""
    table = pd.read_csv(ROOT / "results" / suite / "runs.csv")
    parts = table["strategy"].str.extract(r"^([^\[]*)(?:\[(.*)\])?$").fillna("")
    points = pd.DataFrame(
        [dict(pair.split("=", 1) for pair in filter(None, of.split(","))) for of in parts[1]]
    )
    there = table.drop(columns=points.columns, errors="ignore")
    return pd.concat([there, parts[0].rename("entry"), points], axis=1).copy()


def values(table: pd.DataFrame, strategy: str, metric: str) -> pd.Series:
    """Of one row's runs, by seed."""
    return table[table["strategy"] == strategy].set_index("seed")[metric].sort_index()


def of_its_seeds(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The runs of seeds that another table has, too."""
    return table[table["seed"].isin(other["seed"])]


def with_interval(of: pd.Series) -> str:
    """Mean and half the 95 % t interval over seeds."""
    return f"{of.mean():.3f} ± {half_width(of):.3f}"


def half_width(of: pd.Series) -> float:
    return float(stats.t.ppf(0.975, len(of) - 1) * of.std() / np.sqrt(len(of)))


class Difference(NamedTuple):
    """A mean paired difference over seeds, with its 95 % t interval."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return signed(self.mean, self.low, self.high)


def signed(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def of_pairs(ours: pd.Series, theirs: pd.Series) -> Difference:
    paired = (ours - theirs).dropna()
    return Difference(float(paired.mean()), *paired_t(paired.tolist()))


def difference(table: pd.DataFrame, ours: str, theirs: str, metric: str) -> Difference:
    return of_pairs(values(table, ours, metric), values(table, theirs, metric))


def corrected(found: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """With p corrected over all of them."""
    p_values = holm([each.p for each in found.values()])
    return {key: each._replace(p=p) for (key, each), p in zip(found.items(), p_values, strict=True)}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def ranked(table: pd.DataFrame) -> list[str]:
    return list(table.groupby("strategy")[ACCURACY].mean().sort_values(ascending=False).index)


def strategies_table(suite: str) -> str:
    table = runs(suite)
    tested = [s for s in ranked(table) if s not in (CONTROL, "joint")]
    found = corrected({s: difference(table, s, CONTROL, ACCURACY) for s in tested})
    rows = []
    for strategy in ranked(table):
        forgetting = values(table, strategy, FORGETTING)
        rows.append(
            [
                f"`{strategy}`",
                with_interval(values(table, strategy, ACCURACY)),
                "" if forgetting.isna().any() else with_interval(forgetting),
                f"{values(table, strategy, BY_MEANS).mean():.3f}",
                str(found[strategy]) if strategy in found else "",
                p_value(found[strategy].p) if strategy in found else "",
            ]
        )
    measured = ["average accuracy", "forgetting", "by nearest class mean"]
    return markdown(["strategy", *measured, f"difference from `{CONTROL}`", "p"], rows)


def claim_table(suite: str) -> str:
    table = runs(suite)
    found = corrected(
        {rival: difference(table, CHOSEN, rival, ACCURACY) for rival in RIVALS[suite]}
    )
    rows = [
        [
            f"`{rival}`",
            str(each),
            p_value(each.p),
            *(str(difference(table, CHOSEN, rival, metric)) for metric in (BY_MEANS, FORGETTING)),
        ]
        for rival, each in found.items()
    ]
    header = ["average accuracy", "p", "both by nearest class mean", "forgetting"]
    return markdown([f"`{CHOSEN}` minus", *header], rows)


def with_rectified(suite: str) -> pd.DataFrame:
    """The suite's runs and those of SimO's rectified form."""
    return pd.concat([runs(suite), runs(f"rectified/{suite}")])


def after_each_experience(suite: str, strategy: str) -> pd.DataFrame:
    history = pd.read_csv(ROOT / "results" / suite / "tables" / "history.csv")
    return history[history["strategy"] == strategy]


def rectified_table() -> str:
    rows = []
    for suite in STREAMS:
        table = with_rectified(suite)
        histories = {CHOSEN: suite, RECTIFIED: f"rectified/{suite}"}
        shares = [after_each_experience(of, row)[ANTIPODAL].max() for row, of in histories.items()]
        rows.append(
            [
                TITLES[suite],
                *(with_interval(values(table, row, ACCURACY)) for row in histories),
                str(difference(table, RECTIFIED, CHOSEN, ACCURACY)),
                *(f"{share:.3f}" for share in shares),
            ]
        )
    most = [f"most pairs beyond a right angle, `{row}`" for row in (CHOSEN, RECTIFIED)]
    return markdown(["", f"`{CHOSEN}`", f"`{RECTIFIED}`", "difference", *most], rows)


def splits_table() -> str:
    """Both forms after the fourth experience of Split Fashion-MNIST, and at the end, by seed."""
    measured = {
        ANTIPODAL: "pairs beyond a right angle",
        "train/loss": "training loss",
        "new_class_accuracy": "new classes",
    }
    columns: dict[str, pd.Series] = {}
    for row, suite in {CHOSEN: FASHION, RECTIFIED: f"rectified/{FASHION}"}.items():
        history = after_each_experience(suite, row)
        fourth = history[history["experience"] == 4].set_index("seed")
        columns |= {f"`{row}`: {name}": fourth[metric] for metric, name in measured.items()}
        columns[f"`{row}`: at the end"] = values(runs(suite), row, ACCURACY)
    rows = [
        [str(seed), *(f"{value:.3f}" for value in of)]
        for seed, *of in pd.DataFrame(columns).itertuples()
    ]
    return markdown(["seed", *columns], rows)


def rectified_claim_table(metric: str) -> str:
    found = corrected(
        {
            (suite, rival): difference(with_rectified(suite), RECTIFIED, rival, metric)
            for suite in STREAMS
            for rival in RIVALS[suite]
        }
    )
    cells = {key: f"{each}, p {p_value(each.p)}" for key, each in found.items()}
    rows = [
        [f"`{rival}`", *(cells[suite, rival] for suite in STREAMS)] for rival in RIVALS[CIFAR10]
    ]
    return markdown([f"`{RECTIFIED}` minus", *(TITLES[suite] for suite in STREAMS)], rows)


def rectified_validation_table() -> str:
    rows = []
    for suite, stream in (("val_cifar10", CIFAR10), ("val_fashion_mnist", FASHION)):
        folder = f"rectified/{suite}"
        (file,) = (ROOT / "results" / folder).glob("*.yaml")
        entries = read_suite(file).suite.strategies
        for _, of in runs(folder).groupby("strategy", sort=False):
            drawn = of.filter(["lr"]).dropna().to_dict("records")[:1]
            settings = {**entries[of["entry"].iloc[0]], **dict(*drawn)}
            rows.append(
                [
                    TITLES[stream],
                    str(settings.get("form", "pairwise")),
                    *(f"{float(settings[key]):g}" for key in ("lr", "epsilon")),
                    str(len(of)),
                    f"{of[ACCURACY].mean():.3f}",
                ]
            )
    return markdown(["stream", "form", "learning rate", "ε", "seeds", "validation"], rows)


def learning_rates_table() -> str:
    """Validation accuracy of both forms with both encoders, on the seed that all searches have."""
    columns = {
        "airnet, pairwise": ("split_cifar10/learning_rates", "simo"),
        "airnet, rectified": ("rectified/val_cifar10", "rectified"),
        "slim ResNet-18, pairwise": ("split_cifar10_slim/learning_rates", "simo"),
        "slim ResNet-18, rectified": ("rectified/val_slim_resnet18", "rectified"),
        "slim ResNet-18, `er_balanced`": ("split_cifar10_slim/learning_rates", "er_balanced"),
    }
    found = {}
    for name, (folder, entry) in columns.items():
        table = runs(folder)
        of = table[(table["entry"] == entry) & (table["seed"] == TUNING_SEED)]
        found[name] = of.set_index(of["lr"].astype(float))[ACCURACY]
    rows = [
        [f"{rate:g}", *("" if pd.isna(score) else f"{score:.3f}" for score in scores)]
        for rate, *scores in pd.DataFrame(found).sort_index().itertuples()
    ]
    return markdown(["learning rate", *columns], rows)


def overview_table() -> str:
    """SimO and the rivals that all settings have, by their mean rank."""
    means = pd.DataFrame(
        {
            TITLES[suite]: runs(suite).groupby("strategy")[ACCURACY].mean().loc[[CHOSEN, *_IN_ALL]]
            for suite in RIVALS
        }
    )
    means["mean rank"] = means.rank(ascending=False).mean(axis=1)
    rows = [
        [f"`{strategy}`", *(f"{mean:.3f}" for mean in of[:-1]), f"{of.iloc[-1]:.2f}"]
        for strategy, of in means.sort_values("mean rank").iterrows()
    ]
    return markdown(["strategy", *means.columns], rows)


def memory_table() -> str:
    small = runs(SMALL_MEMORY)
    large = of_its_seeds(runs(CIFAR10), small)
    rows = [
        [
            f"`{strategy}`",
            *(with_interval(values(table, strategy, ACCURACY)) for table in (large, small)),
            with_interval(values(small, strategy, FORGETTING)),
        ]
        for strategy in ranked(small)
    ]
    header = ["strategy", "memory of 1,000", "memory of 200", "forgetting, memory of 200"]
    return markdown(header, rows)


def learnt_table(table: pd.DataFrame) -> str:
    rows = [
        [
            f"`{strategy}`",
            *(with_interval(values(table, strategy, m)) for m in (LEARNT, FORGETTING)),
        ]
        for strategy in ranked(table)
        if strategy != "joint"
    ]
    return markdown(["strategy", "learnt", "forgotten"], rows)


def validation_table(suite: str) -> str:
    table = runs(suite)
    entries = read_suite(ROOT / "benchmarks" / f"{suite}.yaml").suite.strategies
    # On CIFAR-10 the bounds had other searches.
    bounds = ("joint", "finetune") if suite == CIFAR10 else ()
    rows, scores = [], []
    for strategy in (s for s in ranked(table) if s not in bounds):
        path = ROOT / "results" / suite / "tuning" / f"{strategy}.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        axes = found["search_space"]
        chosen = {axis: type(axes[axis][0])(entries[strategy][axis]) for axis in axes}
        (trial,) = [t for t in found["trials"] if all(t[axis] == chosen[axis] for axis in axes)]
        test = values(table, strategy, ACCURACY)
        scores.append((trial[ACCURACY], test.mean()))
        settings = ", ".join(
            f"{axis} {value:.3g}" if isinstance(value, float) else f"{axis} {value}"
            for axis, value in chosen.items()
        )
        rows.append([f"`{strategy}`", settings, f"{trial[ACCURACY]:.3f}", f"{test.mean():.3f}"])
    rank = stats.spearmanr(scores).statistic
    header = ["strategy", "chosen", "validation", "test"]
    return markdown(header, rows) + f"\n\nRank correlation of the last two columns: {rank:.2f}."


def link_table(suite: str) -> str:
    table = runs(suite)
    kept = table[~table["strategy"].isin(["joint", "finetune"])]
    rows = []
    for metric in (ACCURACY, FORGETTING):
        for space in ("features", "embedding"):
            coherence = f"{space}/orthogonality/coherence"
            of = kept.dropna(subset=[coherence])
            found = rank_correlations(of[coherence], of[metric], of["strategy"], of["seed"])
            rows.append(
                [
                    metric.replace("_", " "),
                    NAMES[space],
                    *(signed(f.correlation, f.low, f.high) for f in found),
                    f"{found[0].runs}, {found[0].strategies}",
                ]
            )
    levels = ["all runs", "within strategies", "between strategies"]
    return markdown(["outcome", "coherence in", *levels, "runs, strategies"], rows)


def measure_training_images() -> None:
    """The mean |cos| of class means of training images, from the run folders."""
    import torch

    from simo_cl import load_results
    from simo_cl.metrics.geometry import centred, class_mean_cosines

    results, rows = load_results(ROOT / "results" / DIGITS), []
    for strategy, seed in runs(DIGITS)[["strategy", "seed"]].itertuples(index=False):
        arrays = {k: torch.from_numpy(v) for k, v in results.embeddings(strategy, seed).items()}
        spaces = {"features": arrays["train_features"].float()}
        spaces["features_centred"] = centred(spaces["features"])
        if "train_embedding" in arrays:
            spaces["embedding"] = arrays["train_embedding"].float()
        row = {"strategy": strategy, "seed": seed}
        for space, points in spaces.items():
            cosines = class_mean_cosines(points, arrays["train_labels"], 10)
            pairs = cosines[tuple(torch.triu_indices(10, 10, offset=1))]
            row[f"{space}/{COS}"] = round(float(pairs.abs().mean()), 6)
        rows.append(row)
    pd.DataFrame(rows).to_csv(TRAINING_IMAGES, index=False)


def geometry_table() -> str:
    test, train = runs(DIGITS), pd.read_csv(TRAINING_IMAGES)

    def cell(table: pd.DataFrame, strategy: str, space: str) -> str:
        name = f"{space}/{COS}"
        of = values(table, strategy, name) if name in table else pd.Series(dtype=float)
        return "" if of.empty or of.isna().any() else f"{of.mean():.3f}"

    in_order = test.groupby("strategy")[f"features/{COS}"].mean().sort_values().index
    rows = [
        [f"`{strategy}`", *(cell(t, strategy, space) for space in SPACES for t in (train, test))]
        for strategy in in_order
    ]
    header = [f"{NAMES[space]}, {part}" for space in SPACES for part in ("training", "test")]
    return markdown(["strategy", *header], rows)


def cosines_table(suite: str) -> str:
    table = runs(suite)
    rows = [
        [
            f"`{strategy}`",
            *(
                "" if of.isna().any() else with_interval(of)
                for of in (values(table, strategy, f"{space}/{COS}") for space in SPACES)
            ),
        ]
        for strategy in ranked(table)
    ]
    return markdown(["strategy", *NAMES.values()], rows)


def sweep_table() -> str:
    table = runs("simo_sweep")
    rows = []
    for (epsilon, leaning), of in table.groupby(["epsilon", "leaning"]):
        rows.append(
            [
                epsilon,
                leaning,
                f"{best_cosine(float(epsilon), float(leaning)):.3f}",
                with_interval(of[f"embedding/{COS}"]),
                with_interval(of["embedding/collapse/effective_rank"]),
                with_interval(of[ACCURACY]),
            ]
        )
    header = ["ε", "leaning", "best cosine", "mean abs cos", "effective rank", "accuracy"]
    return markdown(header, rows)


def dimensions_table() -> str:
    table = runs("dims")
    rows = []
    for dimension in sorted(table["dimension"].astype(int).unique()):
        of = {
            e: table[(table["entry"] == e) & (table["dimension"].astype(int) == dimension)]
            for e in ("simo", "supcon")
        }
        rows.append(
            [
                str(dimension),
                *(with_interval(of[e][ACCURACY]) for e in of),
                *(f"{of[e]['embedding/orthogonality/coherence'].mean():.3f}" for e in of),
                f"{coherence_bound(10, dimension):.3f}",
            ]
        )
    coherences = ["coherence of `simo`", "of `supcon`", "lower bound"]
    header = ["dimensions", "`simo`", "`supcon`", *coherences]
    return markdown(header, rows)


def budget_table() -> str:
    long = runs("digits_12_epochs")
    short = of_its_seeds(runs(DIGITS), long)
    rows = [
        [
            f"`{strategy}`",
            *(with_interval(values(table, strategy, ACCURACY)) for table in (short, long)),
            ""
            if strategy in (CHOSEN, "joint")
            else str(difference(long, CHOSEN, strategy, ACCURACY)),
        ]
        for strategy in ranked(long)
    ]
    header = ["strategy", "26 steps an experience", "104 steps", f"`{CHOSEN}` minus, 104 steps"]
    return markdown(header, rows)


def encoders_table() -> str:
    """The strategies that have runs with both encoders, on the same seeds."""
    slim = runs(SLIM)
    airnet = of_its_seeds(runs(CIFAR10), slim)
    rows = []
    for strategy in ranked(slim):
        ours, theirs = (values(table, strategy, ACCURACY) for table in (airnet, slim))
        cells = [with_interval(of) for of in (ours, theirs)]
        rows.append([f"`{strategy}`", *cells, str(of_pairs(ours, theirs))])
    return markdown(["strategy", "airnet", "slim ResNet-18", "difference"], rows)


def variants_table(table: pd.DataFrame, whole: Callable[[pd.DataFrame], str], name: str) -> str:
    """A row a variant, beside the row that `whole` names for its runs."""
    rows = []
    for label, of in table.groupby("strategy", sort=False):
        base = whole(of)
        beside = "" if label == base else str(difference(table, label, base, ACCURACY))
        geometry = (f"embedding/{COS}", "embedding/collapse/effective_rank", ANTIPODAL)
        metrics = (ACCURACY, FORGETTING, *geometry)
        rows.append([f"`{label}`", *(with_interval(of[metric]) for metric in metrics), beside])
    measured = ["average accuracy", "forgetting", "mean abs cos", "effective rank"]
    measured.append("pairs beyond a right angle")
    return markdown(["", *measured, f"accuracy minus that of {name}"], rows)


def parts_table() -> str:
    def whole(of: pd.DataFrame) -> str:
        return f"simo[normalize={of['normalize'].iloc[0]},form=pairwise]"

    return variants_table(runs("simo_ablation"), whole, "the whole loss")


def settings_table() -> str:
    return variants_table(runs(SETTINGS), lambda of: CHOSEN, f"`{CHOSEN}`")


def colour(strategy: str) -> str:
    return "tab:red" if "simo" in strategy else "tab:blue"


def claim_figure() -> Figure:
    figure, panels = plt.subplots(2, 2, figsize=(11, 6), layout="constrained")
    for axes, (suite, rivals) in zip(panels.flat, RIVALS.items(), strict=True):
        table = runs(suite)
        for row, rival in enumerate(reversed(rivals)):
            mean, low, high, _ = difference(table, CHOSEN, rival, ACCURACY)
            bars = {"xerr": [[mean - low], [high - mean]], "capsize": 3}
            axes.errorbar(mean, row, fmt="o", color="tab:red", **bars)
        axes.set_yticks(range(len(rivals)), list(reversed(rivals)))
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set_title(TITLES[suite])
        axes.set_xlabel(f"average accuracy, {CHOSEN} minus the other")
    return figure


def learnt_figure() -> Figure:
    table = runs(DIGITS)
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    near = {"xlim": (0.86, 0.94), "ylim": (0.04, 0.14)}
    for strategy in ranked(table):
        if strategy in ("joint", "finetune"):
            continue
        x, y = (values(table, strategy, metric) for metric in (LEARNT, FORGETTING))
        bars = {"xerr": half_width(x), "yerr": half_width(y), "linewidth": 0.5}
        beside = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": 7}
        inside = all(
            low < of.mean() < high for of, (low, high) in zip((x, y), near.values(), strict=True)
        )
        for axes in panels:
            axes.errorbar(x.mean(), y.mean(), fmt="o", color=colour(strategy), **bars)
        panels[int(inside)].annotate(strategy, (x.mean(), y.mean()), **beside)
    panels[1].set(title="its lower right corner", **near)
    for axes in panels:
        axes.set_xlabel("learnt: accuracy on an experience just after it")
        axes.set_ylabel("forgotten until the end")
    return figure


def geometry_figure() -> Figure:
    test, train = runs(DIGITS), pd.read_csv(TRAINING_IMAGES)
    order = list(test.groupby("strategy")[f"features/{COS}"].mean().sort_values().index)
    figure, panels = plt.subplots(1, 3, figsize=(9, 5), sharey=True, layout="constrained")
    for axes, (space, name) in zip(panels, NAMES.items(), strict=True):
        for table, label, mark in ((train, "training images", "|"), (test, "test images", "o")):
            if f"{space}/{COS}" in table:
                means = table.groupby("strategy")[f"{space}/{COS}"].mean().reindex(order)
                axes.plot(means, range(len(order)), mark, label=label)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"mean abs cos of class means,\n{name}")
    panels[0].set_yticks(range(len(order)), order, fontsize=7)
    panels[0].legend(fontsize=7)
    return figure


def link_figure() -> Figure:
    table = runs(DIGITS)
    figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    kept = table[~table["strategy"].isin(["joint", "finetune"])]
    for axes, space in zip(panels, ("features", "embedding"), strict=True):
        coherence = f"{space}/orthogonality/coherence"
        marks = "osv^DPX*<>"
        for index, (strategy, of) in enumerate(kept.dropna(subset=[coherence]).groupby("strategy")):
            look = {"linestyle": "", "markersize": 4, "color": f"C{index % 10}"}
            mark = marks[index // 10 * 5 + index % 5]
            axes.plot(of[coherence], of[ACCURACY], mark, label=strategy, **look)
        axes.set_xlabel(f"coherence of class means, {NAMES[space]}")
        axes.set_ylabel("average accuracy")
        axes.legend(fontsize=5)
    return figure


def sweep_figure() -> Figure:
    table = runs("simo_sweep")
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for leaning, of in table.groupby("leaning"):
        grouped = of.assign(at=of["epsilon"].astype(float)).groupby("at")
        cosines, accuracy = grouped[f"embedding/{COS}"].mean(), grouped[ACCURACY].mean()
        (line,) = panels[0].plot(cosines, "o-", label=f"leaning {leaning}")
        best = [best_cosine(epsilon, float(leaning)) for epsilon in cosines.index]
        panels[0].plot(cosines.index, best, "--", color=line.get_color())
        panels[1].plot(accuracy, "o-", color=line.get_color())
    labels = ("mean abs cos of class means (dashed: optimum)", "accuracy")
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xscale("log")
        axes.set_xlabel("epsilon")
        axes.set_ylabel(label)
    panels[0].legend(fontsize=7)
    return figure


def dimensions_figure() -> Figure:
    table = runs("dims")
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for entry in ("simo", "supcon"):
        of = table[table["entry"] == entry]
        by_dimension = of.assign(at=of["dimension"].astype(int)).groupby("at")[ACCURACY]
        width = [half_width(values) for _, values in by_dimension]
        means, look = by_dimension.mean(), {"fmt": "o-", "color": colour(entry), "capsize": 3}
        axes.errorbar(means.index, means, yerr=width, label=entry, **look)
    axes.set_xscale("log", base=2)
    axes.axvline(10, color="grey", linewidth=0.8)
    axes.set_xlabel("dimensions, for ten classes")
    axes.set_ylabel("average accuracy")
    axes.legend()
    return figure


def variants_figure(table: pd.DataFrame) -> Figure:
    grouped = list(table.groupby("strategy", sort=False))[::-1]
    figure, axes = plt.subplots(figsize=(6, 1 + len(grouped) / 3), layout="constrained")
    for row, (_, of) in enumerate(grouped):
        bars = {"xerr": half_width(of[ACCURACY]), "capsize": 3}
        axes.errorbar(of[ACCURACY].mean(), row, fmt="o", color="tab:red", **bars)
    axes.set_yticks(range(len(grouped)), [label for label, _ in grouped], fontsize=7)
    axes.set_xlabel("average accuracy")
    return figure


BLOCKS: dict[str, Callable[[], str]] = {
    "overview": overview_table,
    "memory": memory_table,
    "memory_claim": lambda: claim_table(SMALL_MEMORY),
    "fashion_mnist": lambda: strategies_table(FASHION),
    "fashion_mnist_learnt": lambda: learnt_table(with_rectified(FASHION)),
    "fashion_mnist_claim": lambda: claim_table(FASHION),
    "cifar10": lambda: strategies_table(CIFAR10),
    "cifar10_claim": lambda: claim_table(CIFAR10),
    "cifar10_learnt": lambda: learnt_table(runs(CIFAR10)),
    "cifar10_cosines": lambda: cosines_table(CIFAR10),
    "cifar10_validation": lambda: validation_table(CIFAR10),
    "strategies": lambda: strategies_table(DIGITS),
    "claim": lambda: claim_table(DIGITS),
    "learnt": lambda: learnt_table(runs(DIGITS)),
    "validation": lambda: validation_table(DIGITS),
    "geometry": geometry_table,
    "link": lambda: link_table(DIGITS),
    "cifar10_link": lambda: link_table(CIFAR10),
    "sweep": sweep_table,
    "dimensions": dimensions_table,
    "parts": parts_table,
    "budget": budget_table,
    "rectified": rectified_table,
    "splits": splits_table,
    "rectified_claim": lambda: rectified_claim_table(ACCURACY),
    "rectified_claim_by_means": lambda: rectified_claim_table(BY_MEANS),
    "rectified_validation": rectified_validation_table,
    "learning_rates": learning_rates_table,
    "cifar10_settings": settings_table,
    "cifar10_encoders": encoders_table,
}
DRAWN: dict[str, Callable[[], Figure]] = {
    "claim": claim_figure,
    "learnt": learnt_figure,
    "geometry": geometry_figure,
    "link": link_figure,
    "sweep": sweep_figure,
    "dimensions": dimensions_figure,
    "parts": lambda: variants_figure(runs("simo_ablation")),
}


def with_blocks(page: str) -> str:
    """The page with every block written anew."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n\n{BLOCKS[found[1]]()}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def main() -> None:
    if any((ROOT / "results" / DIGITS / "runs").glob("*/*")):
        measure_training_images()
    for page in PAGES:
        page.write_text(with_blocks(page.read_text(encoding="utf-8")), encoding="utf-8")
    mpl.rcParams["svg.hashsalt"] = "study"
    for name, draw in DRAWN.items():
        draw().savefig(FIGURES / f"study_{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
