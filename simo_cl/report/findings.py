"""What the first screen of the page says in words: which strategy, by how much, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simo_cl.report.checks import STATES
from simo_cl.report.origin import Origin, origins
from simo_cl.report.statistics import (
    ALPHA,
    PRIMARY_METRIC,
    Comparison,
    Verdict,
    compare,
    compare_all_pairs,
    holm,
    paired_t,
    seed_spread,
    standard_error,
)
from simo_cl.report.wording import show_signed
from simo_cl.results import Suite
from simo_cl.wording import count, listed, sentence

PROBE = "linear_probe/average_accuracy"
EXPLAINED_AT_MOST = 3
NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Headline:
    """The answer in one sentence, and on what it rests."""

    title: str
    basis: str


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
            why = without_control(suite, control, comparisons)
        return Headline(
            "Means, and nothing tested",
            f"{why}, so no strategy was compared with another by a test.",
        )
    if not tested and all(len(c.seeds) == 1 for c in compared):
        without = "With one seed there is no deviation"
        if any(len(suite.finished(label)) > 1 for label in suite.finished_labels):
            without = f"Over the one seed shared with {control} there is no deviation"
        return Headline(
            "A first look, not yet a result",
            f"{without}, no interval and no test. The differences from "
            f"{control} below are single observations and order nothing.",
        )
    if not tested:
        return Headline("Nothing that a test could tell apart", sentence(compared[0].reason))
    return Headline(_verdict(tested, control), _basis(tested, comparisons, control))


def without_control(suite: Suite, control: str, comparisons: Sequence[Comparison] = ()) -> str:
    """In words, why nothing was compared with it.

    Args:
        comparisons: those that there are, without a difference.
    """
    rows = [label for label in suite.labels if control in (label, suite.strategy_of(label))]
    if not rows:
        return f"The control, {control}, was left out of the command, and no run of it has begun"
    if not any(suite.finished(label) for label in rows):
        return f"No run of the control, {control}, has finished"
    if any(suite.is_joint(label) for label in rows):
        return f"The control, {control}, sees all classes at once: a bound, not a competitor"
    if not comparisons:
        return f"No other strategy than the control, {control}, has finished"
    reasons = listed(list(dict.fromkeys(c.reason for c in comparisons)))
    return f"Nothing compares with the control, {control} ({reasons})"


def summary(suite: Suite, comparisons: Sequence[Comparison]) -> list[str]:
    """What else the finished runs support, a sentence each; what is missing comes first."""
    if not suite.finished_runs:
        return []
    return [
        *_missing(suite),
        *_told_apart(comparisons, suite.control),
        *_first_two(suite, comparisons),
        *_why(origins(suite, comparisons)),
        *_gap_to_joint(suite),
        *_left_in_the_features(suite),
    ]


def _verdict(tested: Sequence[Comparison], control: str) -> str:
    above = [c for c in tested if c.verdict == "above"]
    if as_far := _as_far(tested):
        level = [c for c in tested if c in above or c in as_far]
        return (
            f"{listed(_with_differences(level), NAMED_AT_MOST)} end above {control} in average "
            f"accuracy; the test bears out {listed([c.label for c in above], NAMED_AT_MOST)} alone"
        )
    if len(above) == 1:
        (c,) = above
        return f"{c.label} ends {c.difference or 0.0:.3f} above {control} in average accuracy"
    if above:
        named = listed(_with_differences(above), NAMED_AT_MOST)
        return f"{named} end above {control} in average accuracy"
    if all(c.verdict == "below" for c in tested):
        return f"{control} ends above every strategy tested against it"
    return f"No strategy is shown to end above {control} in average accuracy"


def _as_far(tested: Sequence[Comparison]) -> list[Comparison]:
    """Those without a verdict that end within a standard error of one that is above, or beyond
    it: what sets them apart is the spread over seeds."""
    least = min(
        ((c.difference or 0.0) - standard_error(c) for c in tested if c.verdict == "above"),
        default=math.inf,
    )
    without = [c for c in tested if c.verdict == "not told apart"]
    return [c for c in without if (c.difference or 0.0) >= least]


def _basis(tested: Sequence[Comparison], all_of_them: Sequence[Comparison], control: str) -> str:
    counts = sorted({len(c.seeds) for c in tested})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parts = [
        f"Paired t test of each strategy against {control} on {seeds} shared seeds; p corrected by "
        f"Holm for {count(len(tested), 'comparison')}; a verdict needs p < {ALPHA:.2g}. Not told "
        "apart does not mean equal."
    ]
    if len(tested) > 1:
        parts.append(
            "All pairs of strategies are tested under Every strategy against every other, where p "
            "is corrected over all of them."
        )
    if as_far := _as_far(tested):
        named = listed([c.label for c in as_far], NAMED_AT_MOST)
        its = "its" if len(as_far) == 1 else "their"
        parts.append(
            f"What keeps {named} from a verdict is {its} spread over seeds, not {its} difference."
        )
    if any(c.verdict == "not told apart" and c.excludes_zero for c in tested):
        parts.append(
            "An interval stands for its comparison alone: it may leave out 0 where the corrected "
            "test gives no verdict."
        )
    untested = [c.label for c in all_of_them if c.p is None]
    if untested:
        parts.append(f"Without a test: {listed(untested)}.")
    return " ".join(parts)


def _missing(suite: Suite) -> Iterator[str]:
    left = suite.unfinished_runs
    if left:
        named = [f"{run.label} seed {run.seed} ({STATES[run.state]})" for run in left]
        are = "is" if len(left) == 1 else "are"
        yield (
            f"{len(left)} of {count(len(suite.runs), 'planned run')} {are} in no number or figure "
            f"below: {listed(named, at_most=6)}."
        )


def _told_apart(comparisons: Sequence[Comparison], control: str | None) -> Iterator[str]:
    by_verdict: dict[Verdict, list[Comparison]] = {}
    for c in comparisons:
        by_verdict.setdefault(c.verdict, []).append(c)
    parts = []
    if "below" in by_verdict:
        parts.append(f"below {control}: {listed(_with_differences(by_verdict['below']))}")
    if "not told apart" in by_verdict:
        labels = [c.label for c in by_verdict["not told apart"]]
        parts.append(f"not told apart from {control}: {listed(labels)}")
    if parts:
        yield sentence("; ".join(parts))


def _first_two(suite: Suite, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """The two rows on the stream with the highest means, unless one is a control, which the first
    table compares with the other."""
    labels = suite.streamed_labels
    if all(c.p is None for c in comparisons):
        return
    if not all(suite.same_data(labels[0], label) for label in labels):
        return
    spreads = {label: seed_spread(suite, label, PRIMARY_METRIC) for label in labels}
    means = {label: found.mean for label, found in spreads.items() if found is not None}
    best = sorted(means, key=lambda label: -means[label])[:2]
    controls = [suite.counterpart(label, suite.control or "") for label in best]
    if len(best) < 2 or set(controls).intersection(best):
        return
    pairs = compare_all_pairs(suite, [*best, *(label for label in labels if label not in best)])
    ahead = pairs[0]
    if ahead.difference is None or ahead.low is None or ahead.high is None:
        return
    told = "not told apart" if ahead.verdict == "not told apart" else "told apart"
    yield (
        f"{best[0]} has the highest mean on the stream and {best[1]} the next: "
        f"{show_signed(ahead.difference)} [{show_signed(ahead.low)}, {show_signed(ahead.high)}] "
        f"(95 % paired interval over {count(len(ahead.seeds), 'seed')}), {told} after Holm over "
        f"all {count(sum(pair.p is not None for pair in pairs), 'pair')}."
    )


def _why(origins: Sequence[Origin]) -> Iterator[str]:
    """Of those above the control, or else of those below it, what the difference is made of."""
    tested = sum(origin.total.p is not None for origin in origins)
    for verdict in ("above", "below"):
        found = [origin for origin in origins if origin.total.verdict == verdict]
        for origin in found[:EXPLAINED_AT_MOST]:
            total = origin.total
            yield (
                f"{total.label}'s {show_signed(total.difference or 0.0)} against {total.control} "
                f"is {_part(origin.learnt, tested)} from learning each experience and "
                f"{_part(origin.kept, tested)} from what is kept of it."
            )
        if found:
            return


def _part(comparison: Comparison, tested: int) -> str:
    shown = show_signed(comparison.difference or 0.0)
    if comparison.verdict in ("above", "below"):
        return shown
    if comparison.excludes_zero:
        why = f"after Holm over {count(tested, 'strategy')}, though its own interval leaves 0 out"
        return f"{shown} (not told apart from 0 {why})"
    return f"{shown} (not told apart from 0)"


def _gap_to_joint(suite: Suite) -> Iterator[str]:
    if suite.control is None or suite.control not in suite.labels:
        return
    joint = suite.joint_of(suite.control)
    if joint is None or not suite.is_joint(joint):
        return
    gap = compare(suite, joint, suite.control, PRIMARY_METRIC)
    if gap.difference is None or gap.low is None or gap.high is None or gap.low <= 0:
        return
    yield (
        f"{joint}, with all classes at once, ends {gap.difference:.3f} [{gap.low:.3f}, "
        f"{gap.high:.3f}] above {suite.control} (95 % paired interval): the room that the stream "
        "leaves."
    )


def _left_in_the_features(suite: Suite) -> Iterator[str]:
    """Where a probe of the same features reads more than the strategy's own classifier."""
    gains: dict[str, tuple[float, float]] = {}
    for label in suite.finished_labels:
        own, probe = suite.values(label, PRIMARY_METRIC), suite.values(label, PROBE)
        differences = [probe[seed] - own[seed] for seed in own if seed in probe]
        if not suite.is_joint(label) and len(differences) > 1:
            try:
                p = paired_t(differences)[2]
            except ValueError:
                continue
            gains[label] = (sum(differences) / len(differences), p)
    adjusted = holm([p for _, p in gains.values()])
    shown = [
        gain
        for (gain, _), p in zip(gains.values(), adjusted, strict=True)
        if gain > 0 and p < ALPHA
    ]
    if shown:
        extent = f"{min(shown):.3f}"
        if f"{max(shown):.3f}" != extent:
            extent += f" to {max(shown):.3f}"
        yield (
            f"On the final features of {len(shown)} of the {count(len(gains), 'row')} on the "
            f"stream, a linear probe of the oracle sample reads {extent} more than the strategy's "
            "own classifier (paired over seeds, Holm)."
        )


def _with_differences(comparisons: Sequence[Comparison]) -> list[str]:
    return [f"{c.label} ({show_signed(c.difference or 0.0)})" for c in comparisons]
