"""The descriptions that MLflow shows: of a suite's experiment, of a strategy, and of one seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simo_cl.metrics.described import READ_OUTS, Family, of_family
from simo_cl.metrics.over_seeds import mean_metrics
from simo_cl.results import Run, Suite

# The least that any supported MLflow takes as an experiment's description.
_LONGEST = 5000

HEADLINES = (
    "average_accuracy",
    "forgetting",
    "average_anytime_accuracy",
    "new_class_accuracy",
    "old_class_accuracy",
    "learning_accuracy",
    "backward_transfer",
)
"""What is compared first, in this order."""

_SPACES = {
    "features": "the encoder's features",
    "embedding": "the space of the loss, after the projection head",
    "features_centred": "the features minus their mean",
    "embedding_centred": "the embeddings minus their mean",
}


def of_a_suite(suite: Suite) -> str:
    """What the experiment shows and what each of its metrics means, in Markdown."""
    plan = suite.plan
    control = f" Control: {plan.control}." if plan.control else ""
    names = {name for run in suite.runs for line in run.history for name in line.metrics}
    tables = "\n\n".join(_tables(names))
    return f"""{plan.description}

Data: {plan.data or "unknown"}. Made by `{plan.command}`, \
simo-cl {plan.version}.{control}

Each top-level run is a strategy, the **mean over the seeds finished so far**; under it are its \
seeds, under *Models* their encoders. The step is the number of experiences trained. ↑ more is \
better, ↓ less is better; accuracies are shares.

{tables}
"""[:_LONGEST]


def of_a_strategy(label: str, finished: Sequence[Run], planned: int) -> str:
    """The headline metrics over the seeds, in Markdown."""
    last = {run.seed: run.history[-1].metrics for run in finished if run.history}
    if not last:
        return f"`{label}`: none of {planned} seeds has finished."
    shared, means, rows = mean_metrics(list(last.values())), {}, []
    for name in (name for name in HEADLINES if name in shared):
        found = shared[name]
        means[name] = f"{found.mean:.3f}" + ("" if found.std is None else f" ± {found.std:.3f}")
        each = " | ".join(f"{metrics[name]:.3f}" for metrics in last.values())
        rows.append(f"| `{name}` | {means[name]} | {each} |")
    headline = ", ".join(f"`{name}` {means[name]}" for name in HEADLINES[:2] if name in means)
    return "\n".join(
        [
            f"{headline}: mean ± standard deviation over {len(last)} of {planned} seeds.",
            "",
            f"| after the last experience | mean | {' | '.join(f'seed {seed}' for seed in last)} |",
            f"|---|---|{'---|' * len(last)}",
            *rows,
        ]
    )


def of_a_seed(run: Run, *, has_model: bool) -> str:
    """How a run ended, in Markdown."""
    if run.error:
        return f"Failed: {run.error.type}: {run.error.message} (error.txt, log.txt)"
    if run.state != "finished" or not run.history:
        return ""
    metrics = run.history[-1].metrics
    results = ", ".join(
        f"`{name}` {metrics[name]:.3f}" for name in HEADLINES[:2] if name in metrics
    )
    model = "Its encoder is under *Logged models*" if has_model else "No model: log.txt may say why"
    return f"{results}. {model}."


def _tables(names: Iterable[str]) -> Iterable[str]:
    """What the given metrics mean."""
    names = set(names)
    prefixes = {name.partition("/")[0] for name in names}
    spaces = {name.partition("/")[2] for name in names if name.partition("/")[0] in _SPACES}
    read_outs = {name: read_out.meaning for name, read_out in READ_OUTS.items()}
    parts = (
        ("metric", "", _meanings("continual"), names),
        ("the same, with another classifier on the features", "/...", read_outs, prefixes),
        ("space", "/...", _SPACES, prefixes),
        ("in a space, on unit vectors", "", _meanings("geometry"), spaces),
        ("cost", "", _meanings("training") | _meanings("cost"), names),
    )
    for heading, ending, meanings, there in parts:
        rows = [
            f"| `{name}{ending}` | {text} |" for name, text in meanings.items() if name in there
        ]
        if rows:
            yield "\n".join([f"| {heading} | meaning |", "|---|---|", *rows])


def _meanings(family: Family) -> dict[str, str]:
    """Each with the better direction, where one is better in itself."""
    metrics = of_family(family).values()
    return {metric.name: f"{metric.arrow} {metric.meaning}".strip() for metric in metrics}
