"""The descriptions that MLflow shows: of a suite's experiment, of a strategy, and of one seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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

# Each with the better direction, where one is better in itself.
_CONTINUAL = {
    "average_accuracy": "↑ mean accuracy over the experiences seen so far, without task labels",
    "average_anytime_accuracy": "↑ mean of the average accuracies up to here",
    "forgetting": "↓ best earlier minus present accuracy, mean over earlier experiences",
    "backward_transfer": "↑ present accuracy minus that right after learning, likewise",
    "forward_transfer": "↑ k-NN accuracy on experiences to come, over the untrained encoder's",
    "learning_accuracy": "↑ accuracy on each experience right after training on it, mean",
    "min_accuracy": "↑ lowest accuracy since learnt, mean over earlier experiences",
    "worst_case_accuracy": "↑ that, mixed with the accuracy on the newest experience",
    "new_class_accuracy": "↑ accuracy on the newest experience's classes",
    "old_class_accuracy": "↑ accuracy on all earlier classes",
}
_READ_OUTS = {
    "ncm_memory": "nearest class mean, means from the strategy's own memory",
    "ncm_oracle": "nearest class mean, means from training images of all seen classes",
    "linear_probe": "logistic regression on those images",
    "knn": "10 nearest neighbours among those images",
    "mlp_head": "a small network, one epoch on those images",
}
_SPACES = {
    "features": "the encoder's features",
    "embedding": "the space of the loss, after the projection head",
    "features_centred": "the features minus their mean",
    "embedding_centred": "the embeddings minus their mean",
}
_GEOMETRY = {
    "orthogonality/mean_abs_cos": "↓ mean abs(cosine) between class means",
    "orthogonality/rms_cos": "↓ its root mean square",
    "orthogonality/coherence": "↓ the largest",
    "orthogonality/bound_gap": "↓ coherence minus the best known lower bound",
    "orthogonality/rms_gap": "↓ rms_cos minus Welch's bound",
    "orthogonality/o_within": "↑ mean squared cosine of two samples of a class",
    "orthogonality/o_between": "↓ of samples of different classes",
    "neighbourhood/d_within": "↓ mean squared distance of two samples of a class, 0 to 4",
    "neighbourhood/d_between": "↑ of samples of different classes; 2 is orthogonal",
    "neighbourhood/ratio": "↓ d_within over d_between",
    "neighbourhood/knn_purity": "↑ share of the 10 nearest with the sample's class",
    "neighbourhood/antipodal_share": "↓ share of same-class pairs beyond a right angle",
    "neighbourhood/subspace_overlap": "↓ shared principal directions of two classes, 0 to 1",
    "neighbourhood/subspace_overlap_chance": "of random subspaces",
    "neighbourhood/subspace_overlap_normalized": "↓ 0 is chance, 1 is the same",
    "collapse/effective_rank": "dimensions in use: exponential of the singular values' entropy",
    "collapse/effective_rank_share": "of all dimensions; near 0 is a collapse",
    "collapse/participation_ratio": "dimensions that carry the variance",
    "collapse/participation_ratio_share": "of all dimensions",
    "drift/class_mean": "↓ 1 minus the cosine of an old class's mean now and when learnt",
    "simo/similarity_within": "↑ SimO similarity of two samples of a class, 0 to 1",
    "simo/similarity_between": "↓ of samples of different classes",
}
_COST = {
    "train/loss": "mean training loss of the experience",
    "cost/steps": "optimizer steps so far",
    "cost/images": "images forwarded in training so far",
    "cost/train_seconds": "time spent training so far",
    "cost/evaluate_seconds": "time spent evaluating so far",
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
    parts = (
        ("metric", "", _CONTINUAL, names),
        ("the same, with another classifier on the features", "/...", _READ_OUTS, prefixes),
        ("space", "/...", _SPACES, prefixes),
        ("in a space, on unit vectors", "", _GEOMETRY, spaces),
        ("cost", "", _COST, names),
    )
    for heading, ending, meanings, there in parts:
        rows = [
            f"| `{name}{ending}` | {text} |" for name, text in meanings.items() if name in there
        ]
        if rows:
            yield "\n".join([f"| {heading} | meaning |", "|---|---|", *rows])
