"""What each metric is: its name, unit, direction, meaning and source.

The report's headings, the descriptions in MLflow and the tables of docs/metrics.md come from here.
Nothing here imports torch, so that they are made without it; a user's metric brings its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from simo_cl.registry import Lazy, Registry

Direction = Literal["up", "down", ""]
Family = Literal["continual", "geometry", "training", "cost"]


@dataclass(frozen=True)
class Metric:
    """A number that is measured after each experience.

    Attributes:
        name: in ``metrics.jsonl``; one of the geometry stands there with its space before it.
        heading: for a table's column.
        meaning: a sentence for readers who meet the metric here.
        definition: a formula, or as exact in words.
        unit: of the values: a range of shares, "seconds", "steps", ...
        direction: which way is better; "" where neither is in itself.
        source: number of the publication in docs/metrics.md, or a reference.
        family: "continual" of accuracies, "geometry" of embeddings, "training" or "cost".
        function: a user's own; the library computes its metrics together.
    """

    name: str
    heading: str
    meaning: str
    definition: str
    unit: str = "0..1"
    direction: Direction = ""
    source: str = ""
    family: Family = "continual"
    function: Callable[..., float] | None = None

    @property
    def arrow(self) -> str:
        return {"up": "↑", "down": "↓", "": ""}[self.direction]


def of_family(family: Family) -> dict[str, Metric]:
    """The metrics of a family by name, those of the user last."""
    return {name: metric for name, metric in METRICS.items() if metric.family == family}


def direction_of(metric: str) -> Direction:
    """Which way is better of a metric as it is named in the tables, with a space or a read-out in
    front or without; "" also of one that nothing describes."""
    described = METRICS.get(metric) or METRICS.get(metric.partition("/")[2])
    return described.direction if described else ""


def own_metrics(family: Family, *measured: Any) -> dict[str, float]:
    """What the user's metrics of a family give, those that are defined.

    Args:
        family: "geometry" or "continual".
        measured: what its functions take.
    """
    own = {name: metric.function for name, metric in of_family(family).items()}
    return {name: float(function(*measured)) for name, function in own.items() if function}


_CONTINUAL = (
    Metric(
        "average_accuracy",
        "average accuracy",
        "Test accuracy after the last experience, averaged over all experiences; no task label.",
        "mean of `A[T, i]` over i ≤ T",
        direction="up",
    ),
    Metric(
        "average_anytime_accuracy",
        "anytime accuracy",
        "The average accuracy on the experiences seen so far, averaged over the whole stream.",
        "mean over t ≤ T of the average accuracy at t",
        direction="up",
        source="[1]",
    ),
    Metric(
        "forgetting",
        "forgetting",
        "Best accuracy ever reached on earlier experiences minus the final one, averaged. A joint "
        "run has none.",
        "mean over i < T of the best `A[t, i]` with i ≤ t < T, minus `A[T, i]`",
        unit="-1..1",
        direction="down",
        source="[3]",
    ),
    Metric(
        "backward_transfer",
        "backward transfer",
        "Final accuracy on earlier experiences minus that right after training on them, averaged.",
        "mean over i < T of `A[T, i] - A[i, i]`",
        unit="-1..1",
        direction="up",
        source="[4]",
    ),
    Metric(
        "learning_accuracy",
        "learning accuracy",
        "Mean accuracy on each experience right after training on it: plasticity.",
        "mean of `A[i, i]`",
        direction="up",
        source="[5]",
    ),
    Metric(
        "intransigence",
        "intransigence",
        "Mean accuracy of the joint run of the same seed minus the accuracy on each experience "
        "right after training on it. Below zero where the few classes seen by then make it easier.",
        "mean over i ≤ T of `A_joint[i] - A[i, i]`, A_joint from training on everything at once",
        unit="-1..1",
        direction="down",
        source="after [3]",
    ),
    Metric(
        "forward_transfer",
        "forward transfer",
        "k-NN accuracy on features of experiences not yet trained, minus that of the untrained "
        "encoder.",
        "mean over 1 < i ≤ T + 1 of `A_knn[i-1, i] - A_knn[0, i]`, row 0 before any training",
        unit="-1..1",
        direction="up",
        source="after [4]",
    ),
    Metric(
        "new_class_accuracy",
        "newest classes",
        "Accuracy on the classes of the last experience.",
        "accuracy on the classes of experience T",
        direction="up",
    ),
    Metric(
        "old_class_accuracy",
        "older classes",
        "Accuracy on the classes of all earlier experiences.",
        "accuracy on the classes before",
        direction="up",
    ),
    Metric(
        "min_accuracy",
        "minimum accuracy",
        "Mean over earlier experiences of the lowest accuracy since they were learnt.",
        "mean over i < T of the least `A[t, i]` with i < t ≤ T",
        direction="up",
        source="[2]",
    ),
    Metric(
        "worst_case_accuracy",
        "worst case",
        "Accuracy on the newest experience and minimum accuracy on older ones, weighted by their "
        "number.",
        "`A[T, T] / T + (1 - 1/T) · min_accuracy`",
        direction="up",
        source="[2]",
    ),
    Metric(
        "anytime/accuracy",
        "anytime, within",
        "Accuracy on the classes seen so far, on a sample of test images, averaged over all "
        "batches of an online stream.",
        "mean over batches of `a[n]`: the area under its curve",
        direction="up",
        source="[12]",
    ),
    Metric(
        "anytime/min_accuracy",
        "minimum, within",
        "Mean over earlier experiences of the lowest accuracy since they were learnt, the dips "
        "within experiences included.",
        "mean over i < T of the least `a[n, i]` after experience i was trained",
        direction="up",
        source="[2]",
    ),
    Metric(
        "anytime/worst_case_accuracy",
        "worst case, within",
        "Accuracy on the newest experience and that minimum on older ones, weighted by their "
        "number.",
        "`a[N, T] / T + (1 - 1/T) · anytime/min_accuracy`, N the last batch",
        direction="up",
        source="[2]",
    ),
)


_geometry = partial(Metric, family="geometry")
_GEOMETRY = (
    _geometry(
        "orthogonality/mean_abs_cos",
        "mean |cos|",
        "Mean over pairs of classes of |cos| between their means; 0 is orthogonal.",
        "mean of `abs(u_a · u_b)` over a ≠ b",
        direction="down",
    ),
    _geometry(
        "orthogonality/rms_cos",
        "rms cos",
        "Root mean square cosine between class means.",
        "root mean square of `u_a · u_b`",
        direction="down",
    ),
    _geometry(
        "orthogonality/rms_gap",
        "rms above bound",
        "Root mean square cosine minus Welch's bound.",
        "`rms_cos` minus Welch's bound, which tight frames attain",
        direction="down",
        source="[8]",
    ),
    _geometry(
        "orthogonality/coherence",
        "coherence",
        "The largest |cos| between two class means.",
        "largest `abs(u_a · u_b)`",
        direction="down",
        source="[7]",
    ),
    _geometry(
        "orthogonality/bound_gap",
        "above bound",
        "Coherence minus the best known lower bound.",
        "coherence minus the best known lower bound",
        direction="down",
        source="[7, 8, 9]",
    ),
    _geometry(
        "orthogonality/o_within",
        "cos² within",
        "Mean squared cosine of two samples of one class.",
        "mean `o_ij` of same-class pairs",
        direction="up",
    ),
    _geometry(
        "orthogonality/o_between",
        "cos² between",
        "Mean squared cosine of two samples of different classes.",
        "mean `o_ij` of different-class pairs",
        direction="down",
    ),
    _geometry(
        "neighbourhood/d_within",
        "distance within",
        "Mean squared distance of two samples of one class.",
        "mean `d_ij` of same-class pairs",
        unit="0..4",
        direction="down",
    ),
    _geometry(
        "neighbourhood/d_between",
        "distance between",
        "Mean squared distance of two samples of different classes; 2 is orthogonal.",
        "mean `d_ij` of different-class pairs; 2 is orthogonal",
        unit="0..4",
        direction="up",
    ),
    _geometry(
        "neighbourhood/ratio",
        "within / between",
        "Mean squared distance of two samples of one class over that of two of different classes.",
        "`d_within / d_between`",
        unit="0..",
        direction="down",
    ),
    _geometry(
        "neighbourhood/knn_purity",
        "10-NN purity",
        "Share of a sample's ten nearest others that have its class.",
        "share of the 10 nearest others with the sample's class; ties share the last places",
        direction="up",
    ),
    _geometry(
        "neighbourhood/antipodal_share",
        "antipodal",
        "Share of same-class pairs with a cosine below 0, beyond SimO's barrier.",
        "share of same-class pairs with cosine below 0",
        direction="down",
    ),
    _geometry(
        "neighbourhood/subspace_overlap",
        "subspaces shared",
        "Share of their principal directions that two classes have in common.",
        "mean over class pairs of `‖U_aᵀ U_b‖²_F / r`, U the top r ≤ 4 uncentred principal "
        "directions of a class's unit vectors",
        direction="down",
    ),
    _geometry(
        "neighbourhood/subspace_overlap_chance",
        "subspaces shared by chance",
        "The same share for random subspaces.",
        "its mean for random subspaces, `r / d`",
    ),
    _geometry(
        "neighbourhood/subspace_overlap_normalized",
        "subspace overlap",
        "How much the principal directions of two classes share: 0 is chance, 1 is the same.",
        "`(overlap - chance) / (1 - chance)`",
        unit="..1",
        direction="down",
    ),
    _geometry(
        "collapse/effective_rank",
        "effective rank",
        "Exponential of the entropy of the normalised singular values: dimensions in use.",
        "exponential of the entropy of the normalized singular values",
        unit="1..min(d, N)",
        source="[10]",
    ),
    _geometry(
        "collapse/participation_ratio",
        "participation",
        "Participation ratio of the squared singular values: dimensions that carry the variance.",
        "`(Σ s²)² / Σ s⁴` of the singular values s",
        unit="1..min(d, N)",
        source="[11]",
    ),
    _geometry(
        "collapse/effective_rank_share",
        "effective rank, share",
        "Effective rank over the number of dimensions; near 0 is a collapse.",
        "effective rank over min(d, N); near 0 is a collapse",
    ),
    _geometry(
        "collapse/participation_ratio_share",
        "participation, share",
        "Participation ratio over the number of dimensions; near 0 is a collapse.",
        "participation ratio over min(d, N); near 0 is a collapse",
    ),
    _geometry(
        "drift/class_mean",
        "drift",
        "Mean over older classes of 1 − cos between their mean now and when learnt.",
        "mean over old classes of `1 - u_c(now) · u_c(when learnt)`",
        unit="0..2",
        direction="down",
    ),
    _geometry(
        "simo/similarity_within",
        "SimO similarity within",
        "Mean SimO similarity of two samples of one class.",
        "mean SimO similarity of same-class pairs",
        direction="up",
    ),
    _geometry(
        "simo/similarity_between",
        "SimO similarity between",
        "Mean SimO similarity of two samples of different classes.",
        "mean SimO similarity of different-class pairs",
        direction="down",
    ),
)
_cost = partial(Metric, family="cost")
_COST = (
    Metric(
        "train/loss",
        "loss",
        "Mean training loss of the experience.",
        "mean of the loss over the steps of the experience",
        unit="of the loss",
        family="training",
    ),
    _cost(
        "cost/steps",
        "steps",
        "Optimizer steps.",
        "optimizer steps from the start of the run",
        unit="steps",
    ),
    _cost(
        "cost/images",
        "images",
        "Images forwarded in training; views and memory count.",
        "images forwarded in training from the start of the run",
        unit="images",
    ),
    _cost(
        "cost/train_seconds",
        "training",
        "Time spent training.",
        "time spent training from the start of the run",
        unit="seconds",
    ),
    _cost(
        "cost/evaluate_seconds",
        "evaluation",
        "Time spent evaluating.",
        "time spent evaluating from the start of the run",
        unit="seconds",
    ),
)
METRICS: Registry[Metric] = Registry(
    "a metric", {metric.name: metric for metric in (*_CONTINUAL, *_GEOMETRY, *_COST)}
)


@dataclass(frozen=True)
class ReadOut:
    """A classifier on frozen features, of which a suite reports every metric of accuracies.

    Attributes:
        name: before the metric's, as ``knn/average_accuracy``.
        heading: for a table's column.
        meaning: a sentence for readers who meet it here.
        classifier: which one, and with what settings.
        fitted_on: the strategy's own "memory", or the "oracle" sample of training images of all
            seen classes, which is the same for all strategies and which none may keep.
        function: of training features (N, d), their labels (N,) and features (M, d); gives labels
            (M,).
    """

    name: str
    heading: str
    meaning: str
    classifier: str
    fitted_on: Literal["memory", "oracle"]
    function: Callable[..., Any] | Lazy

    def classify(self, train_x: Any, train_y: Any, x: Any) -> Any:
        """What the function gives."""
        function = self.function.load() if isinstance(self.function, Lazy) else self.function
        return function(train_x, train_y, x)  # type: ignore[operator]


_HOME = "simo_cl.metrics.readouts"
READ_OUTS: Registry[ReadOut] = Registry(
    "a read-out",
    {
        read_out.name: read_out
        for read_out in (
            ReadOut(
                "ncm_memory",
                "nearest mean, memory",
                "Nearest class mean of the features; means from the strategy's own memory.",
                "nearest class mean of unit vectors",
                "memory",
                Lazy(_HOME, "nearest_class_mean"),
            ),
            ReadOut(
                "ncm_oracle",
                "nearest mean, oracle",
                "Nearest class mean; means from one sample of training images of all seen classes. "
                "A diagnostic, as all of the oracle: no strategy may keep that sample.",
                "nearest class mean of unit vectors",
                "oracle",
                Lazy(_HOME, "nearest_class_mean"),
            ),
            ReadOut(
                "linear_probe",
                "linear probe, oracle",
                "Logistic regression on the same oracle sample.",
                "logistic regression on standardized features (C = 1)",
                "oracle",
                Lazy(_HOME, "linear_probe"),
            ),
            ReadOut(
                "knn",
                "10-NN, oracle",
                "Ten nearest neighbours in the same oracle sample.",
                "majority of the 10 nearest by cosine",
                "oracle",
                Lazy(_HOME, "knn"),
            ),
            ReadOut(
                "mlp_head",
                "MLP head, oracle",
                "The SimO paper's read-out: a small network trained for one epoch on the same "
                "oracle sample.",
                "a network with one hidden layer of 128, one epoch on standardized features",
                "oracle",
                Lazy(_HOME, "mlp_head"),
            ),
        )
    },
)
