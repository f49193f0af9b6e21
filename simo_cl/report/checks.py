"""Whether the comparison can be trusted: what a reviewer would ask of the runs first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from simo_cl.report.settings import Settings, lookup, unplanned
from simo_cl.report.statistics import PRIMARY_METRIC, seed_spread
from simo_cl.results import RunState, Suite
from simo_cl.wording import count, differ, listed, sentence

SEEDS_FOR_A_TABLE = 5
# A point or a line, whatever the aim.
COLLAPSED_RANK, COLLAPSED_COSINE = 1.5, 0.95
# Shares of the aim, an effective rank of min(C, d).
COLLAPSED_SHARE, FULL_SHARE = 1 / 3, 2 / 3
RANK, COSINE = "embedding/collapse/effective_rank", "embedding/orthogonality/mean_abs_cos"
# Why a strategy may forward a few images more than the suite's budget.
MORE_IMAGES = {
    "icarl": "iCaRL forwards its first batch two more times, to learn the sizes of its outputs"
}
STATES: dict[RunState, str] = {
    "failed": "failed",
    "missing": "not run",
    "running": "unfinished",
    "broken": "unreadable",
}


@dataclass(frozen=True)
class Check:
    """One reason to trust the comparison, or not to."""

    state: Literal["good", "caution", "bad"]
    title: str
    detail: str = ""


def checks(suite: Suite, settings: Settings, environments: Settings) -> list[Check]:
    """Everything about the runs that a reviewer would ask first.

    Args:
        settings, environments: of the suite's finished runs, compared.
    """
    if not suite.finished_runs:
        return [_runs(suite)]
    found = [_seeds(suite), _runs(suite), *_data(suite), *_by_data(suite, _budget)]
    found += [_settings(suite, settings), _machines(environments)]
    return [*found, *_by_data(suite, _bounds), *_by_data(suite, _collapse)]


def _by_data(suite: Suite, check: Callable[[Suite], Iterator[Check]]) -> Iterator[Check]:
    """What compares numbers does so within each data set; of several it says which."""
    parts = suite.split("data")
    for part in parts:
        of = f"{part.plan.data}: " if len(parts) > 1 else ""
        yield from (replace(found, detail=f"{of}{found.detail}") for found in check(part))


def _seeds(suite: Suite) -> Check:
    finished = {label: len(suite.finished(label)) for label in suite.finished_labels}
    low, high = min(finished.values()), max(finished.values())
    seeds = count(low, "seed") if low == high else f"{low} to {high} seeds"
    if high == 1:
        return Check("bad", "One seed", "No deviation, no interval, no test.")
    if low >= SEEDS_FOR_A_TABLE:
        if _share_seeds(suite):
            return Check("good", f"{seeds} a strategy", "Paired by seed.")
        detail = "Not all of the same ones: a difference is over those that both rows have."
        return Check("caution", f"{seeds} a strategy", detail)
    fewer = [label for label, seeds in finished.items() if seeds < SEEDS_FOR_A_TABLE]
    who = "" if len(fewer) == len(finished) else f": {listed(fewer, at_most=4)}"
    return Check(
        "caution",
        f"{seeds} a strategy",
        f"Fewer than the {SEEDS_FOR_A_TABLE} that a reference table asks for{who}.",
    )


def _share_seeds(suite: Suite) -> bool:
    """Whether all rows of a data set have the seeds of the row with the fewest."""
    for part in suite.split("data"):
        seeds = [{run.seed for run in part.finished(label)} for label in part.finished_labels]
        if seeds and len(set.intersection(*seeds)) < min(map(len, seeds)):
            return False
    return True


def _runs(suite: Suite) -> Check:
    total, finished = len(suite.runs), len(suite.finished_runs)
    if total == finished:
        return Check("good", f"All {count(total, 'planned run')} finished")
    left = [run.state for run in suite.unfinished_runs]
    details = [", ".join(f"{left.count(s)} {name}" for s, name in STATES.items() if s in left)]
    absent = [label for label in suite.labels if label not in suite.finished_labels]
    if absent and finished:
        details.append(f"nothing of {listed(absent, at_most=4)}")
    failed = dict.fromkeys(run.label for run in suite.unfinished_runs if run.state == "failed")
    survived = [label for label in failed if label in suite.finished_labels]
    if survived:
        details.append(f"the means of {listed(survived, at_most=4)} are of the runs that survived")
    state: Literal["caution", "bad"] = "bad" if finished == 0 else "caution"
    title = f"{finished} of {total} planned runs finished"
    return Check(state, title, " ".join(map(sentence, details)))


def _data(suite: Suite) -> Iterator[Check]:
    for data in (part.plan.data for part in suite.split("data")):
        if "jpeg" in data.lower():
            yield Check(
                "caution",
                data,
                "Images went through lossy compression: compare within this page, not with numbers "
                "published on the original.",
            )
    parts = {lookup(run.config, "stream.evaluate_on") for run in suite.finished_runs}
    if "validation" in parts:
        yield Check("caution", "Scored on the validation split", "Not on the test set.")


def _budget(suite: Suite) -> Iterator[Check]:
    apart, equal, uneven = [], [], []
    for what in ("steps", "images"):
        spent = _means(suite, f"cost/{what}")
        if len(spent) < 2:
            return
        least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
        if spent[most] > 1.01 * spent[least]:
            apart.append(
                f"{what} from {spent[least]:,.0f} ({least}) to {spent[most]:,.0f} ({most})"
            )
        equal.append(f"{_range(spent[least], spent[most])} {what}")
        if spent[most] > spent[least]:
            uneven.append(_why_most(suite, spent, what))
    if apart:
        yield Check("caution", "Unequal budgets", sentence("; ".join(apart)))
    else:
        parts = [f"{' and '.join(equal)} a run", *uneven]
        yield Check("good", "Equal budgets", " ".join(map(sentence, parts)))


def _range(low: float, high: float) -> str:
    shown = [f"{low:,.0f}", f"{high:,.0f}"]
    return " to ".join(dict.fromkeys(shown))


def _why_most(suite: Suite, spent: Mapping[str, float], what: str) -> str:
    """Who has more than the budget of most rows, and why if that is known."""
    usual = Counter(spent.values()).most_common(1)[0][0]
    more = [label for label, value in spent.items() if value > usual]
    fewer = [label for label, value in spent.items() if value < usual]
    parts = [
        f"{word} than {usual:,.0f} {what}: {listed(labels, at_most=4)}"
        for word, labels in (("more", more), ("fewer", fewer))
        if labels
    ]
    known = {MORE_IMAGES[s] for s in map(suite.built_by, more) if s in MORE_IMAGES}
    reason = f" ({'; '.join(sorted(known))})" if known and what == "images" else ""
    return f"{'; '.join(parts)}{reason}"


def _settings(suite: Suite, settings: Settings) -> Check:
    differing = unplanned(suite, settings)
    if not differing:
        beside = " and the grid's" if any(run.variant for run in suite.runs) else ""
        return Check(
            "good", "One protocol", f"All share every setting but the strategies' own{beside}."
        )
    title = f"{count(len(differing), 'shared setting')} {differ(differing)}"
    return Check("caution", title, f"{listed(differing, at_most=4)}.")


def _machines(environments: Settings) -> Check:
    differing = list(environments.differing)
    if differing:
        return Check(
            "caution",
            "Runs from different environments",
            f"{listed(differing)} {differ(differing)}: do not compare their times.",
        )
    return Check("good", "One environment", "Same versions and hardware for all runs.")


def _bounds(suite: Suite) -> Iterator[Check]:
    """Fine-tuning and joint training bracket a sound comparison."""
    means = _means(suite, PRIMARY_METRIC)
    joint = [label for label in means if suite.built_by(label) == "joint"]
    finetune = [label for label in means if suite.built_by(label) == "finetune"]
    others = [label for label in means if label not in finetune and not suite.is_joint(label)]
    if not others:
        return
    if joint:
        upper, best = min(joint, key=means.__getitem__), max(others, key=means.__getitem__)
        numbers = f"{upper} {means[upper]:.3f}, highest mean on the stream {means[best]:.3f}"
        if means[upper] > means[best]:
            yield Check("good", "Joint training bounds the stream from above", f"{numbers}.")
        else:
            title = f"{best} has a higher mean than joint training"
            yield Check("bad", title, f"{numbers}: undertrained?")
    if finetune:
        lower, worst = max(finetune, key=means.__getitem__), min(others, key=means.__getitem__)
        numbers = f"{lower} {means[lower]:.3f}, next mean {means[worst]:.3f}"
        if suite.num_experiences:
            numbers += f"; knowing only the last experience gives {1 / suite.num_experiences:.2f}"
        if means[lower] < means[worst]:
            yield Check("good", "Fine-tuning bounds it from below", f"{numbers}.")
        else:
            yield Check("bad", f"{worst} has no higher mean than fine-tuning", f"{numbers}.")


def _collapse(suite: Suite) -> Iterator[Check]:
    """Effective rank of the loss spaces against their aim: as many directions as classes, or as
    dimensions if there are fewer."""
    ranks, cosines = _means(suite, RANK), _means(suite, COSINE)
    aims = {label: aim for label in ranks if (aim := _rank_to_reach(suite, label)) is not None}
    collapsed, low = [], []
    for label, rank in ranks.items():
        share = rank / aims[label] if label in aims else 1.0
        shown = f"{label} ({_rank(rank, aims.get(label))})"
        if cosines.get(label, 0.0) > COLLAPSED_COSINE:
            collapsed.append(f"{shown[:-1]}, mean |cos| of class means {cosines[label]:.2f})")
        elif rank < COLLAPSED_RANK or share < COLLAPSED_SHARE:
            collapsed.append(shown)
        elif share < FULL_SHARE:
            low.append(shown)
    if collapsed:
        yield Check("bad", "Collapsed loss space", f"{listed(collapsed)}.")
    if low:
        yield Check("caution", "Loss space of low rank", f"{listed(low)}.")
    if ranks and not collapsed and not low:
        least = min(ranks, key=lambda label: ranks[label] / aims.get(label, 1))
        detail = f"Lowest: {_rank(ranks[least], aims.get(least))} ({least})."
        yield Check("good", "Loss spaces of full rank", detail)


def _rank(rank: float, aim: int | None) -> str:
    if aim is None:
        return f"effective rank {rank:.1f}"
    return f"effective rank {rank:.1f}" + (f" of {aim}" if rank <= aim else f", {aim} asked for")


def _rank_to_reach(suite: Suite, label: str) -> int | None:
    """min(C, d), where the runs say the largest rank that their samples and dimensions allow."""
    share = _means(suite, f"{RANK}_share").get(label)
    if not share or not suite.plan.class_names:
        return None
    return min(len(suite.plan.class_names), round(_means(suite, RANK)[label] / share))


def _means(suite: Suite, metric: str) -> dict[str, float]:
    """The mean over seeds of every row that has the metric."""
    spreads = {label: seed_spread(suite, label, metric) for label in suite.finished_labels}
    return {label: found.mean for label, found in spreads.items() if found is not None}
