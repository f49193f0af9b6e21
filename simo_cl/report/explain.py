"""What each metric is called on the page, what it means, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """A metric in words.

    Attributes:
        heading: for a table's column.
        meaning: a sentence for readers who meet the metric here.
        better: "up", "down", or "" where neither end is better in itself.
    """

    heading: str
    meaning: str
    better: str = ""

    @property
    def arrow(self) -> str:
        return {"up": "↑", "down": "↓", "": ""}[self.better]


CONTINUAL = {
    "average_accuracy": Explanation(
        "average accuracy",
        "Test accuracy after the last experience, averaged over all experiences; no task label.",
        "up",
    ),
    "average_anytime_accuracy": Explanation(
        "anytime accuracy",
        "The average accuracy on the experiences seen so far, averaged over the whole stream.",
        "up",
    ),
    "forgetting": Explanation(
        "forgetting",
        "Mean over earlier experiences of the best accuracy ever reached on them minus the final "
        "one. A joint run has none.",
        "down",
    ),
    "backward_transfer": Explanation(
        "backward transfer",
        "Mean over earlier experiences of the final accuracy minus the accuracy right after "
        "training on them.",
        "up",
    ),
    "learning_accuracy": Explanation(
        "learning accuracy",
        "Mean accuracy on each experience right after training on it: plasticity.",
        "up",
    ),
    "intransigence": Explanation(
        "intransigence",
        "Mean accuracy of the joint run of the same seed minus the accuracy on each experience "
        "right after training on it. Below zero where the few classes seen by then make it easier.",
        "down",
    ),
    "forward_transfer": Explanation(
        "forward transfer",
        "k-NN accuracy on features of experiences not yet trained, minus that of the untrained "
        "encoder.",
        "up",
    ),
    "new_class_accuracy": Explanation(
        "newest classes", "Final accuracy on the classes of the last experience.", "up"
    ),
    "old_class_accuracy": Explanation(
        "older classes", "Final accuracy on the classes of all earlier experiences.", "up"
    ),
    "min_accuracy": Explanation(
        "minimum accuracy",
        "Mean over earlier experiences of the lowest accuracy since they were learnt.",
        "up",
    ),
    "worst_case_accuracy": Explanation(
        "worst case",
        "The accuracy on the newest experience and the minimum accuracy on the older ones, "
        "weighted by the number of experiences.",
        "up",
    ),
}
READOUTS = {
    "average_accuracy": Explanation(
        "own, reported", "The strategy's own classifier: what every other table reports.", "up"
    ),
    "ncm_memory/average_accuracy": Explanation(
        "nearest mean, memory",
        "Nearest class mean of the features; means from the strategy's own memory.",
        "up",
    ),
    "ncm_oracle/average_accuracy": Explanation(
        "nearest mean, oracle",
        "Nearest class mean; means from one bounded sample of training images of all seen "
        "classes, the same for all strategies. A diagnostic: no strategy may keep that sample.",
        "up",
    ),
    "linear_probe/average_accuracy": Explanation(
        "linear probe, oracle", "Logistic regression on the same oracle sample.", "up"
    ),
    "knn/average_accuracy": Explanation(
        "10-NN, oracle", "Ten nearest neighbours in the same oracle sample.", "up"
    ),
    "mlp_head/average_accuracy": Explanation(
        "MLP head, oracle",
        "The SimO paper's read-out: a small network trained for one epoch on the frozen features "
        "of the same oracle sample.",
        "up",
    ),
}
GEOMETRY = {
    "orthogonality/mean_abs_cos": Explanation(
        "mean |cos|", "Mean over pairs of classes of |cos| between their means; 0 is orthogonal."
    ),
    "orthogonality/rms_cos": Explanation("rms cos", "Root mean square cosine between class means."),
    "orthogonality/rms_gap": Explanation(
        "rms above bound",
        "Root mean square cosine minus Welch's bound for as many classes in as many dimensions.",
    ),
    "orthogonality/coherence": Explanation(
        "coherence", "The largest |cos| between two class means."
    ),
    "orthogonality/bound_gap": Explanation(
        "above bound",
        "Coherence minus the best known lower bound for as many classes in as many dimensions.",
    ),
    "orthogonality/o_within": Explanation(
        "cos² within", "Mean squared cosine of two samples of one class."
    ),
    "orthogonality/o_between": Explanation(
        "cos² between", "Mean squared cosine of two samples of different classes."
    ),
    "neighbourhood/ratio": Explanation(
        "within / between",
        "Mean squared distance of two samples of one class over that of two of different classes.",
        "down",
    ),
    "neighbourhood/knn_purity": Explanation(
        "10-NN purity", "Share of a sample's ten nearest others that have its class.", "up"
    ),
    "neighbourhood/antipodal_share": Explanation(
        "antipodal",
        "Share of same-class pairs with a cosine below 0, beyond the barrier of the similar term.",
        "down",
    ),
    "neighbourhood/subspace_overlap_normalized": Explanation(
        "subspace overlap",
        "How much the principal directions of two classes share: 0 is chance, 1 is the same.",
    ),
    "collapse/effective_rank": Explanation(
        "effective rank",
        "Exponential of the entropy of the normalised singular values: dimensions in use.",
    ),
    "collapse/participation_ratio": Explanation(
        "participation",
        "Participation ratio of the squared singular values: dimensions that carry the variance.",
    ),
    "drift/class_mean": Explanation(
        "drift",
        "Mean over older classes of 1 − cos between their mean now and when learnt.",
        "down",
    ),
}
COST = {
    "cost/steps": Explanation("steps", "Optimizer steps."),
    "cost/images": Explanation("images", "Images forwarded in training; views and memory count."),
    "cost/train_seconds": Explanation("training", "Time spent training."),
    "cost/evaluate_seconds": Explanation("evaluation", "Time spent evaluating."),
}
