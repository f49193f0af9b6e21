"""What the first screen of the page says: who ends above whom, and whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from simo_cl.report.load import Suite, variant_settings
from simo_cl.report.runs import RunState
from simo_cl.report.settings import compare_environments, compare_settings, lookup
from simo_cl.report.statistics import PRIMARY_METRIC, Comparison, seed_spread
from simo_cl.report.tables import show_signed

SEEDS_FOR_A_TABLE = 5
# Below these a loss space has collapsed to a point or a line; real class geometry is far away.
COLLAPSED_RANK, COLLAPSED_COSINE = 1.5, 0.95


@dataclass(frozen=True)
class Headline:
    """The answer in one sentence, and on what it rests."""

    title: str
    basis: str


@dataclass(frozen=True)
class Check:
    """One reason to trust the comparison, or not to."""

    state: Literal["good", "caution", "bad"]
    title: str
    detail: str = ""


def headline(suite: Suite, comparisons: Sequence[Comparison]) -> Headline:
    """Which strategies end above the control and by how much, as far as the seeds support it."""
    if not suite.finished_runs:
        return Headline("No run has finished", "There is nothing to compare yet.")
    control = suite.control
    compared = [c for c in comparisons if c.difference is not None]
    tested = [c for c in comparisons if c.p is not None]
    if control is None or not compared:
        why = "The suite names no control"
        if control is not None:
            why = f"No strategy shares a finished seed with the control, {control}"
        return Headline(
            "Means, and nothing tested",
            f"{why}, so no strategy was compared with another by a test.",
        )
    if not tested and all(len(c.seeds) == 1 for c in compared):
        return Headline(
            "A first look, not yet a result",
            f"With one seed there is no deviation, no interval and no test. The differences from "
            f"{control} below are single observations and order nothing.",
        )
    if not tested:
        return Headline("Nothing that a test could tell apart", _sentence(compared[0].reason))
    return Headline(_verdict(tested, control), _basis(tested, comparisons, control))


def checks(suite: Suite) -> list[Check]:
    """Everything about the runs that a reviewer would ask first."""
    if not suite.finished_runs:
        return [_runs(suite)]
    found = [_seeds(suite), _runs(suite), *_data(suite), *_budget(suite), _settings(suite)]
    return [*found, _machines(suite), *_bounds(suite), *_collapse(suite)]


def _verdict(tested: Sequence[Comparison], control: str) -> str:
    above = [c for c in tested if c.verdict == "above"]
    if len(above) == 1:
        (c,) = above
        return f"{c.label} ends {c.difference or 0.0:.3f} above {control} in average accuracy"
    if above:
        named = [f"{c.label} ({show_signed(c.difference or 0.0)})" for c in above]
        return f"{_listed(named)} end above {control} in average accuracy"
    if all(c.verdict == "below" for c in tested):
        return f"{control} ends above every strategy tested against it"
    return f"No strategy is shown to end above {control} in average accuracy"


def _basis(tested: Sequence[Comparison], all_of_them: Sequence[Comparison], control: str) -> str:
    counts = sorted({len(c.seeds) for c in tested})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parts = [
        f"Paired t test of each strategy against {control} on {seeds} shared seeds; p corrected by "
        f"Holm for {_count(len(tested), 'comparison')}; a verdict needs p < 0.05. Not told apart "
        "does not mean equal."
    ]
    untested = [c.label for c in all_of_them if c.p is None]
    if untested:
        parts.append(f"Without a test: {_listed(untested)}.")
    return " ".join(parts)


def _seeds(suite: Suite) -> Check:
    counts = [len(suite.finished(label)) for label in suite.finished_labels]
    low, high = min(counts), max(counts)
    seeds = _count(low, "seed") if low == high else f"{low} to {high} seeds"
    if high == 1:
        return Check("bad", "One seed", "No deviation, no interval, no test.")
    if low < SEEDS_FOR_A_TABLE:
        return Check(
            "caution",
            f"{seeds} a strategy",
            f"Fewer than the {SEEDS_FOR_A_TABLE} that a reference table asks for.",
        )
    return Check("good", f"{seeds} a strategy", "Paired by seed.")


def _runs(suite: Suite) -> Check:
    total, finished = len(suite.runs), len(suite.finished_runs)
    if total == finished:
        return Check("good", f"All {_count(total, 'planned run')} finished")
    left = [run.state for run in suite.unfinished_runs]
    states = ", ".join(f"{left.count(s)} {name}" for s, name in _STATES.items() if s in left)
    state: Literal["caution", "bad"] = "bad" if finished == 0 else "caution"
    return Check(state, f"{finished} of {total} planned runs finished", _sentence(states))


_STATES: dict[RunState, str] = {
    "failed": "failed",
    "missing": "not run",
    "running": "unfinished",
    "broken": "unreadable",
}


def _data(suite: Suite) -> Iterator[Check]:
    if "jpeg" in suite.data.lower():
        yield Check(
            "caution",
            suite.data,
            "Images went through lossy compression: compare within this page, not with numbers "
            "published on the original.",
        )
    parts = {lookup(run.config, "stream.evaluate_on") for run in suite.finished_runs}
    if "validation" in parts:
        yield Check("caution", "Scored on the validation split", "Not on the test set.")


def _budget(suite: Suite) -> Iterator[Check]:
    apart, equal = [], []
    for what in ("steps", "images"):
        spent = _means(suite, f"cost/{what}")
        if len(spent) < 2:
            return
        least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
        if spent[most] > 1.01 * spent[least]:
            apart.append(
                f"{what} from {spent[least]:,.0f} ({least}) to {spent[most]:,.0f} ({most})"
            )
        equal.append(f"{spent[most]:,.0f} {what}")
    if apart:
        yield Check("caution", "Unequal budgets", _sentence("; ".join(apart)))
    else:
        yield Check("good", "Equal budgets", f"{' and '.join(equal)} a run.")


def _settings(suite: Suite) -> Check:
    crossed = {key for run in suite.runs for key in variant_settings(run.variant)}
    differing = [d.key for d in compare_settings(suite).differing if d.key not in crossed]
    if not differing:
        beside = " and the grid's" if crossed else ""
        return Check(
            "good", "One protocol", f"All share every setting but the strategies' own{beside}."
        )
    shown = _listed(differing[:4]) + (" and more" if len(differing) > 4 else "")
    return Check("caution", f"{_count(len(differing), 'shared setting')} differ", f"{shown}.")


def _machines(suite: Suite) -> Check:
    differing = [difference.key for difference in compare_environments(suite).differing]
    if differing:
        return Check(
            "caution",
            "Runs from different environments",
            f"{_listed(differing)} differ: do not compare their times.",
        )
    return Check("good", "One environment", "Same versions and hardware for all runs.")


def _bounds(suite: Suite) -> Iterator[Check]:
    """Fine-tuning and joint training bracket a sound comparison."""
    means = _means(suite, PRIMARY_METRIC)
    joint = [label for label in means if suite.strategy_of(label) == "joint"]
    finetune = [label for label in means if suite.strategy_of(label) == "finetune"]
    others = [label for label in means if label not in finetune and not suite.is_joint(label)]
    if not others:
        return
    if joint:
        upper, best = min(joint, key=means.__getitem__), max(others, key=means.__getitem__)
        numbers = f"{upper} {means[upper]:.3f}, highest on the stream {means[best]:.3f}"
        if means[upper] > means[best]:
            yield Check("good", "Joint training bounds the stream from above", f"{numbers}.")
        else:
            yield Check("bad", f"{best} beats joint training", f"{numbers}: undertrained?")
    if finetune:
        lower, worst = max(finetune, key=means.__getitem__), min(others, key=means.__getitem__)
        numbers = f"{lower} {means[lower]:.3f}, next {means[worst]:.3f}"
        if suite.num_experiences:
            numbers += f"; knowing only the last experience gives {1 / suite.num_experiences:.2f}"
        if means[lower] < means[worst]:
            yield Check("good", "Fine-tuning bounds it from below", f"{numbers}.")
        else:
            yield Check("bad", f"{worst} does not beat fine-tuning", f"{numbers}.")


def _collapse(suite: Suite) -> Iterator[Check]:
    ranks = _means(suite, "embedding/collapse/effective_rank")
    cosines = _means(suite, "embedding/orthogonality/mean_abs_cos")
    collapsed = [
        f"{label} (effective rank {rank:.1f})"
        for label, rank in ranks.items()
        if rank < COLLAPSED_RANK or cosines.get(label, 0.0) > COLLAPSED_COSINE
    ]
    if collapsed:
        yield Check("bad", "Collapsed loss space", f"{_listed(collapsed)}.")
    elif ranks:
        lowest = min(ranks, key=ranks.__getitem__)
        yield Check(
            "good",
            "No loss space has collapsed",
            f"Lowest effective rank {ranks[lowest]:.1f} ({lowest}).",
        )


def _means(suite: Suite, metric: str) -> dict[str, float]:
    """The mean over seeds of every row that has the metric."""
    spreads = {label: seed_spread(suite, label, metric) for label in suite.finished_labels}
    return {label: found.mean for label, found in spreads.items() if found is not None}


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
